"""Methods that fit surfaces (NeuS) and radiance fields (NeRF) of sine networks to photographs."""
