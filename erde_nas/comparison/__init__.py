"""A recipe and several losses in, one student trained with each out, and what tells them apart."""
