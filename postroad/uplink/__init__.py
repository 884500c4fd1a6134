"""The way out through smarthosts: the uplink opens sessions, with TLS and AUTH, for sendmail."""
