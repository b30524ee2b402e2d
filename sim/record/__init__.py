"""Records: the columns that a run leaves behind, and the recorder that fills them."""
