"""A teacher and a student in, the student trained out: losses, teachers, the training loop."""
