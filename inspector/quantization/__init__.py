"""Quantisation: logical counts of packed safetensors schemes, true labels and predicted mixes of GGUF files."""
