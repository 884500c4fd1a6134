/* What the preload calls, recorded: a line a call to the descriptor RECORD, and the call itself. Loaded behind the preload. */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *
name_of(int descriptor)
{
	static char path[4096];
	char link[64];
	ssize_t length;

	snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
	length = readlink(link, path, sizeof path - 1);
	path[length < 0 ? 0 : length] = '\0';
	return strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
}

static void
record(const char *call, const char *name, int result)
{
	const char *descriptor = getenv("RECORD");

	if (descriptor != NULL)
		dprintf(atoi(descriptor), "%s %s%s\n", call, name, result == 0 ? "" : " failed");
}

/* FAIL: the call and the name that fails with EIO. */
static int
fails(const char *call, const char *name)
{
	char wanted[4096];

	snprintf(wanted, sizeof wanted, "%s %s", call, name);
	if (getenv("FAIL") == NULL || strcmp(getenv("FAIL"), wanted) != 0)
		return 0;
	errno = EIO;
	return 1;
}

/* The DNS: a host has addresses of both families, but for one whose name begins with "six" or "four". */
struct hostent *
gethostbyname2(const char *name, int family)
{
	static char address[16], *addresses[] = { address, NULL }, *aliases[] = { NULL };
	static struct hostent host = { .h_aliases = aliases, .h_addr_list = addresses };

	record(family == AF_INET6 ? "AAAA" : "A", name, 0);
	if (strncmp(name, family == AF_INET6 ? "four" : "six", family == AF_INET6 ? 4 : 3) == 0) {
		h_errno = NO_DATA;
		return NULL;
	}
	host.h_addrtype = family;
	host.h_length = family == AF_INET6 ? 16 : 4;
	return &host;
}

int
fsync(int descriptor)
{
	int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	const char *name = name_of(descriptor);
	int result = fails("fsync", name) ? -1 : next(descriptor);

	record("fsync", name, result);
	return result;
}

int
unlink(const char *path)
{
	int (*next)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
	const char *name = strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
	int result = fails("unlink", name) ? -1 : next(path);

	record("unlink", name, result);
	return result;
}

/* OpenSSL, as far as the preload asks for it: a store is a number that is counted up by each file that is read. */
static long stores;

int SSL_CTX_load_verify_locations(void **context, const char *file, const char *folder);
int
SSL_CTX_load_verify_locations(void **context, const char *file, const char *folder)
{
	(void)folder;
	if (fails("read", file))
		return 0;
	record("read", file, 0);
	*context = (void *)++stores;
	return 1;
}

int X509_STORE_up_ref(void *store);
int
X509_STORE_up_ref(void *store)
{
	return store != NULL;
}

void *SSL_CTX_get_cert_store(void *const *context);
void *
SSL_CTX_get_cert_store(void *const *context)
{
	return *context;
}

void SSL_CTX_set1_cert_store(void **context, void *store);
void
SSL_CTX_set1_cert_store(void **context, void *store)
{
	record("share", "store", 0);
	*context = store;
}
