"""Two photos: are they of one person?"""
