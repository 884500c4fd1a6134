/*
 * The host's name and this user, without privileges:
 *
 *   gethostname()  returns POSTROAD_FQDN (sendmail sleeps for 60 s at start if the host's name has no dot);
 *   getpwuid(), getpwnam(), getgrnam()  make a uid that is not in /etc/passwd, such as OpenShift assigns to a container,
 *                  the user smmta, which the image's files refer to;
 *   gethostbyname2()  knows the server's own name, for which sendmail would query the DNS at each start, and wait. A host
 *                  that has IPv6 addresses only is not an unknown host. If IPv4 is preferred (POSTROAD_PREFER), a host with
 *                  an IPv4 address has no IPv6 one, because sendmail tries IPv6 first;
 *   gethostbyaddr()  finds no names: sendmail would look up each client in the DNS before it answers.
 */

#define _GNU_SOURCE
#undef _FORTIFY_SOURCE /* its inline functions can't be defined a second time */

#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "preload.h"

static char fqdn[256]; /* a DNS name has at most 253 characters */
static bool prefers_ipv4;

/* Runs before main(), where sendmail clears its environment at once. */
__attribute__((constructor)) static void
read_name(void)
{
	const char *name = getenv("POSTROAD_FQDN"), *prefer = getenv("POSTROAD_PREFER");

	prefers_ipv4 = prefer != NULL && strcmp(prefer, "ipv4") == 0;
	if (name != NULL && strlen(name) < sizeof fqdn)
		strcpy(fqdn, name);
}

EXPORT int
gethostname(char *name, size_t size)
{
	struct utsname system;
	const char *answer = fqdn;
	size_t needed;

	if (*answer == '\0') {
		if (uname(&system) != 0)
			return -1;
		answer = system.nodename;
	}
	needed = strlen(answer) + 1;
	memcpy(name, answer, needed <= size ? needed : size);
	if (needed > size) { /* like glibc: a truncated name without a NUL, and an error */
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

EXPORT int __gethostname_chk(char *name, size_t size, size_t room);

EXPORT int
__gethostname_chk(char *name, size_t size, size_t room)
{
	return gethostname(name, size < room ? size : room);
}

/*
 * sendmail looks up its own name at the beginning of main(), before it reads the configuration that states its name (Dj,
 * Cw). It learns its aliases and addresses from it (myhostname(), daemon.c), and then accepts no mail for user@[address]. With
 * a dead DNS, each sendmail would take 20 s to start, and a start runs two of them. So the first lookup is answered here,
 * with the addresses of the interfaces. Later lookups of this name, and those of other names, are the C library's. No signal
 * handler that logs calls this, so memory may be allocated.
 */
static struct hostent *
own_host(const char *name, int family)
{
	enum { MOST = 32 };
	static struct in6_addr addresses[MOST]; /* IPv6, IPv4-mapped (RFC 4291, 2.5.5.2), or IPv4 in the first four octets */
	static char *list[MOST + 1], *none[] = { NULL };
	static struct hostent host;
	static bool told;
	struct ifaddrs *interfaces = NULL, *each;
	int number = 0, error = errno;

	if (told || *fqdn == '\0' || strcasecmp(name, fqdn) != 0)
		return NULL;
	told = true;
	if (getifaddrs(&interfaces) != 0)
		interfaces = NULL;
	for (each = interfaces; each != NULL && number < MOST; each = each->ifa_next) {
		unsigned char *address = addresses[number].s6_addr;

		if (each->ifa_addr == NULL)
			continue;
		if (each->ifa_addr->sa_family == AF_INET) {
			memcpy(address, family == AF_INET6 ? "\0\0\0\0\0\0\0\0\0\0\xff\xff" : "", family == AF_INET6 ? 12 : 0);
			memcpy(address + (family == AF_INET6 ? 12 : 0), &((struct sockaddr_in *)(void *)each->ifa_addr)->sin_addr, 4);
		} else if (each->ifa_addr->sa_family == AF_INET6 && family == AF_INET6) {
			memcpy(address, &((struct sockaddr_in6 *)(void *)each->ifa_addr)->sin6_addr, 16);
		} else {
			continue;
		}
		list[number++] = (char *)address;
	}
	list[number] = NULL;
	freeifaddrs(interfaces);
	errno = error;
	host = (struct hostent){ .h_name = fqdn, .h_aliases = none, .h_addrtype = family,
		.h_length = family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr), .h_addr_list = list };
	return &host;
}

EXPORT struct hostent *
gethostbyname2(const char *name, int family)
{
	static struct hostent *(*next)(const char *, int);
	struct hostent *found = own_host(name, family);

	if (found != NULL || uplink_host(name, family, &found))
		return found;
	FIND_NEXT(gethostbyname2);
	if (prefers_ipv4 && family == AF_INET6 && next != NULL && next(name, AF_INET) != NULL) {
		h_errno = HOST_NOT_FOUND; /* makeconnection() then tries AF_INET */
		return NULL;
	}
	if (next == NULL || (found = next(name, family)) != NULL || family != AF_INET || h_errno != NO_DATA)
		return found;
	/*
	 * If no IPv6 address can be reached, sendmail asks for A records only (the mailer's flag 4), and would treat a host
	 * that has AAAA records alone as nonexistent and bounce. Here its mail waits instead, as IPv6 may come back. If IPv6
	 * is used, sendmail has asked for AAAA before.
	 */
	h_errno = next(name, AF_INET6) != NULL || h_errno == TRY_AGAIN ? TRY_AGAIN : NO_DATA;
	return NULL;
}

/* No rule depends on a client's name, and a DNS that does not answer would keep the app waiting. */
EXPORT struct hostent *
gethostbyaddr(const void *address, socklen_t length, int family)
{
	(void)address, (void)length, (void)family;
	h_errno = HOST_NOT_FOUND;
	return NULL;
}

#define USER "smmta"

/* Call the C library's own function, which reads /etc/passwd or /etc/group. */
#define NEXT(function, argument) \
	do { \
		FIND_NEXT(function); \
		found = next == NULL ? NULL : next(argument); \
	} while (0)

static struct passwd *
own_entry(void)
{
	static struct passwd entry = { .pw_name = USER, .pw_passwd = "x", .pw_gecos = "",
		.pw_dir = "/var/lib/postroad", .pw_shell = "/usr/sbin/nologin" };

	entry.pw_uid = getuid();
	entry.pw_gid = getgid();
	return &entry;
}

EXPORT struct passwd *
getpwuid(uid_t uid)
{
	static struct passwd *(*next)(uid_t);
	struct passwd *found;

	NEXT(getpwuid, uid);
	return found == NULL && uid == getuid() ? own_entry() : found;
}

/* Whether this uid is not in /etc/passwd: then the user name in the configuration stands for it. */
static bool
is_stranger(void)
{
	return getpwuid(getuid()) == own_entry();
}

EXPORT struct passwd *
getpwnam(const char *name)
{
	static struct passwd *(*next)(const char *);
	struct passwd *found;

	if (verdict_begins(name))
		return NULL;
	if (strcmp(name, USER) == 0 && is_stranger())
		return own_entry();
	NEXT(getpwnam, name);
	return found;
}

EXPORT struct group *
getgrnam(const char *name)
{
	static char *members[] = { NULL };
	static struct group entry = { .gr_name = USER, .gr_passwd = "x", .gr_mem = members };
	static struct group *(*next)(const char *);
	struct group *found;

	if (strcmp(name, USER) == 0 && is_stranger()) {
		entry.gr_gid = getgid();
		return &entry;
	}
	NEXT(getgrnam, name);
	return found;
}
