/*
 * Sends sessions for smarthosts to Postroad's uplink (postroad/uplink), over a unix socket:
 *
 *   gethostbyname2() (host.c), gethostbyname()  resolve the names NAME.ID.uplink, where ID is six hexadecimal digits, to the
 *                  address 241.x.y.z, where x, y and z are the ID. No host has such an address (RFC 1112, class E). The
 *                  DNS is not queried;
 *   connect()      to such an address at TCP port 1 connects to /run/postroad/uplink instead, and sends the ID there;
 *   getpeername()  of such a connection, which sendmail calls when it reuses one, returns 241.0.0.0.
 *
 * Only sendmail's mailer for smarthosts uses port 1: for a receiver whose MX record has such a name or address sendmail tries
 * port 25, where nothing listens. The socket's mode admits only the user that runs this, and each end checks the uid of the
 * other.
 *
 * Read in sendmail 8.18.1: makeconnection() in daemon.c (the name's address, socket(), connect(), dup()), sm_gethostbyname()
 * in conf.c. As everywhere in this library: no locks and no malloc().
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "preload.h"

#define SOCKET "/run/postroad/uplink"
#define END ".uplink"

enum {
	NETWORK = 241, /* the first octet of the addresses */
	PORT = 1,      /* postroad/runtime/uplink.py */
	DIGITS = 6,
};

/* The ID in a name of the uplink; -1: it is another name. */
static long
id_of(const char *name)
{
	size_t length = strlen(name), end = strlen(END);
	char digits[DIGITS + 1];

	if (length > 0 && name[length - 1] == '.')
		length--;
	if (length < end + DIGITS + 2 || strncasecmp(name + length - end, END, end) != 0
	    || name[length - end - DIGITS - 1] != '.')
		return -1;
	memcpy(digits, name + length - end - DIGITS, DIGITS);
	digits[DIGITS] = '\0';
	return strspn(digits, "0123456789abcdefABCDEF") == DIGITS ? strtol(digits, NULL, 16) : -1;
}

static struct hostent *
entry_of(long id)
{
	static char name[] = "uplink", *aliases[] = { NULL }, *addresses[] = { NULL, NULL };
	static uint8_t address[4];
	static struct hostent entry = { .h_name = name, .h_aliases = aliases, .h_addrtype = AF_INET, .h_length = 4,
		.h_addr_list = addresses };

	address[0] = NETWORK;
	address[1] = (uint8_t)(id >> 16);
	address[2] = (uint8_t)(id >> 8);
	address[3] = (uint8_t)id;
	addresses[0] = (char *)address;
	return &entry;
}

bool
uplink_host(const char *name, int family, struct hostent **found)
{
	long id = id_of(name);

	if (id < 0)
		return false;
	*found = family == AF_INET ? entry_of(id) : NULL;
	if (*found == NULL)
		h_errno = HOST_NOT_FOUND;
	return true;
}

EXPORT struct hostent *
gethostbyname(const char *name)
{
	static struct hostent *(*next)(const char *);
	long id = id_of(name);

	if (id >= 0)
		return entry_of(id);
	FIND_NEXT(gethostbyname);
	return next == NULL ? NULL : next(name);
}

/* Connect to the uplink and send the ID of the wanted server; -1 with errno set if that fails. */
static int
reach(const uint8_t *octets, connect_call *next)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	struct ucred owner;
	socklen_t size = sizeof owner;
	char id[DIGITS + 2];
	int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(id, sizeof id, "%02x%02x%02x\n", octets[1], octets[2], octets[3]);
	if (made >= 0 && next(made, (struct sockaddr *)&path, sizeof path) == 0
	    && getsockopt(made, SOL_SOCKET, SO_PEERCRED, &owner, &size) == 0 && owner.uid == geteuid()
	    && send(made, id, sizeof id - 1, MSG_NOSIGNAL) == (ssize_t)(sizeof id - 1))
		return made;
	if (made >= 0)
		close(made);
	return -1;
}

/* A socket that answers with the reason in the uplink's place; else sendmail would blame the smarthost, which was not asked. */
static int
apology(void)
{
	static const char text[] = "421 4.3.2 the uplink, which speaks to smarthosts, does not run now: mail waits\r\n";
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	(void)send(pair[1], text, sizeof text - 1, MSG_NOSIGNAL);
	close(pair[1]);
	return pair[0];
}

bool
uplink_connect(int descriptor, const struct sockaddr *peer, socklen_t length, connect_call *next, int *result)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)peer;
	const uint8_t *octets;
	int made;

	if (peer == NULL || peer->sa_family != AF_INET || length < sizeof *four || ntohs(four->sin_port) != PORT)
		return false;
	octets = (const uint8_t *)&four->sin_addr;
	if (octets[0] != NETWORK)
		return false;
	if ((made = reach(octets, next)) < 0)
		made = apology();
	*result = made >= 0 && dup3(made, descriptor, O_CLOEXEC) >= 0 ? 0 : -1;
	if (made >= 0)
		close(made);
	return true;
}

void
uplink_name(struct sockaddr *name, socklen_t *length)
{
	const struct sockaddr_un *path = (const struct sockaddr_un *)name;
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	if (name == NULL || length == NULL || *length < sizeof four || name->sa_family != AF_UNIX
	    || *length < offsetof(struct sockaddr_un, sun_path) + sizeof SOCKET || strcmp(path->sun_path, SOCKET) != 0)
		return;
	*(uint8_t *)&four.sin_addr = NETWORK;
	memcpy(name, &four, sizeof four);
	*length = sizeof four;
}
