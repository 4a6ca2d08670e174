"""What tests of several floors share: waiting for observed states, real worker processes, sessions that race."""
