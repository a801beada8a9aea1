"""Own videos and image folders become a data set in the LVSM-style layout."""
