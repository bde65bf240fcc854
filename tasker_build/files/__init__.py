"""Files of the user and ours: the workspace, Git, what is kept between runs."""
