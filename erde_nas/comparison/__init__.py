"""`erde-nas distil`: one student trained with several losses, each from several seeds, and what tells them apart."""
