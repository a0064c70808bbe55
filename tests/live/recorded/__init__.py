"""The recordings repeated: a small network on loopback in which the double's programs are asked what real Clair was asked."""
