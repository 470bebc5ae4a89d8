"""What a sine network can represent and learn first: its layers' spectra and its tangent kernel, before and after."""
