/*
 * Certificates:
 *
 *   SSL_CTX_use_certificate_file()  also loads the issuers' certificates from the file: sendmail alone would send only
 *                  the first one, and clients could not verify a certificate signed by an intermediate authority;
 *   SSL_CTX_load_verify_locations(), SSL_load_client_CA_file()  read the trusted authorities once, in the daemon.
 *                  Otherwise each child that begins an encrypted connection would read some 140 certificates again.
 *
 * Read in sendmail 8.18.1: inittls() in tls.c.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

/* Declared here, without OpenSSL's headers: SSL_CTX is opaque */
EXPORT int SSL_CTX_use_certificate_file(void *context, const char *file, int type);

EXPORT int
SSL_CTX_use_certificate_file(void *context, const char *file, int type)
{
	int (*whole)(void *, const char *) = NULL;

	(void)type; /* always PEM in sendmail */
	*(void **)&whole = dlsym(RTLD_DEFAULT, "SSL_CTX_use_certificate_chain_file");
	return whole == NULL ? 0 : whole(context, file);
}

/* The authorities that the main process has read, for its children; after an exec(), as at a reload, they are read again. */
static struct {
	char file[256], folder[256];
	void *store; /* X509_STORE */
} authorities;

static bool
is_same(const char *known, const char *path)
{
	return strcmp(known, path == NULL ? "" : path) == 0;
}

EXPORT int SSL_CTX_load_verify_locations(void *context, const char *file, const char *folder);

EXPORT int
SSL_CTX_load_verify_locations(void *context, const char *file, const char *folder)
{
	int (*next)(void *, const char *, const char *) = NULL, (*hold)(void *) = NULL, done;
	void (*share)(void *, void *) = NULL;
	void *(*store_of)(const void *) = NULL;

	*(void **)&next = dlsym(RTLD_NEXT, "SSL_CTX_load_verify_locations");
	*(void **)&hold = dlsym(RTLD_DEFAULT, "X509_STORE_up_ref");
	*(void **)&share = dlsym(RTLD_DEFAULT, "SSL_CTX_set1_cert_store");
	*(void **)&store_of = dlsym(RTLD_DEFAULT, "SSL_CTX_get_cert_store");
	if (next == NULL)
		return 0;
	if (is_child() && authorities.store != NULL && share != NULL
	    && is_same(authorities.file, file) && is_same(authorities.folder, folder)) {
		share(context, authorities.store);
		return 1;
	}
	done = next(context, file, folder);
	if (done == 1 && !is_child() && authorities.store == NULL && hold != NULL && store_of != NULL
	    && (size_t)snprintf(authorities.file, sizeof authorities.file, "%s", file == NULL ? "" : file) < sizeof authorities.file
	    && (size_t)snprintf(authorities.folder, sizeof authorities.folder, "%s", folder == NULL ? "" : folder)
	        < sizeof authorities.folder
	    && hold(store_of(context)) == 1)
		authorities.store = store_of(context);
	return done;
}

EXPORT void *SSL_load_client_CA_file(const char *file);

/* The authorities a server names when it asks for client certificates. A child with its own context is a client: none. */
EXPORT void *
SSL_load_client_CA_file(const char *file)
{
	void *(*next)(const char *) = NULL, *(*none)(void) = NULL;

	*(void **)&none = dlsym(RTLD_DEFAULT, "OPENSSL_sk_new_null");
	if (is_child() && none != NULL)
		return none();
	*(void **)&next = dlsym(RTLD_NEXT, "SSL_load_client_CA_file");
	return next == NULL ? NULL : next(file);
}
