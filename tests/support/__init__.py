"""What the tests share: places, Copier runs, facts read from the data files, Docker Compose, Traefik."""
