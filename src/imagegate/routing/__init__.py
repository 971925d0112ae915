"""Who is asked first, and who rests: policies, and the health of offerings."""
