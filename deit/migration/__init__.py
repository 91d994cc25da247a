"""Configurations of other DeiT programs, translated into keys of this one: plain data in, plain data out."""
