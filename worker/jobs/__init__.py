"""Many pictures translated together: what is stored of a job, how it is taken in, done, watched and given out."""
