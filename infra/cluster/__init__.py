"""What Fourfold runs on a swarm of several machines, besides the service that is measured."""
