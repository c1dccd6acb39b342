"""The Nemotron-Labs-Diffusion architecture: shapes, rotary positions, the network and its checkpoint files."""
