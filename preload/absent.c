/*
 * Replaces libnsl and libwrap, which Debian's sendmail links against and nothing here needs. They would bring in Kerberos
 * and RPC: a quarter of all that the loader maps into sendmail and that each of its fork()s copies.
 *
 *   NIS and NIS+ maps report that there is no NIS;
 *   /etc/hosts.allow and hosts.deny, which the image does not have, allow everybody: sendmail.mc decides who may do what.
 *
 * gcc -O2 -fPIC -shared -Wl,-soname,libnsl.so.2 -Wl,--version-script=<(echo 'LIBNSL_1.0 { *; };') -o libnsl.so.2 absent.c
 * with libwrap.so.0 as a second name of the same file, so that it is loaded once.
 */

#include <stddef.h>

enum { NO_DOMAIN = 12 }; /* YPERR_NODOM of rpcsvc/ypclnt.h */

int
yp_get_default_domain(char **domain)
{
	*domain = NULL;
	return NO_DOMAIN;
}

int
yp_match(const char *domain, const char *map, const char *key, int key_length, char **value, int *length)
{
	(void)domain, (void)map, (void)key, (void)key_length, (void)value, (void)length;
	return NO_DOMAIN;
}

const char *
yperr_string(int error)
{
	(void)error;
	return "there is no NIS in this image";
}

const char *
nis_local_directory(void)
{
	return "";
}

void *
nis_lookup(const char *name, unsigned flags)
{
	(void)name, (void)flags;
	return NULL;
}

void *
nis_list(const char *name, unsigned flags, void *call, const void *data)
{
	(void)name, (void)flags, (void)call, (void)data;
	return NULL;
}

void
nis_freeresult(void *result)
{
	(void)result;
}

int
hosts_ctl(const char *daemon, const char *name, const char *address, const char *user)
{
	(void)daemon, (void)name, (void)address, (void)user;
	return 1;
}
