"""``servecap mock``: a stand-in for a server that is not bought yet, with the simulated fleet's manners."""
