"""KV behind the GPU's prefix cache: in host memory, on disks, in a store that replicas share."""
