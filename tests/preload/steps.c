/*
 * Does what its arguments say, one after the other, as sendmail would: into it the preload is loaded.
 *
 *   create NAME, sync NAME, sync-folder PATH, unlink NAME    files of the queue
 *   fork                   go on in a child, whose end the parent waits for and whose status it takes
 *   authorities FILE       read trusted authorities
 *   hostname SIZE          print the host's name in so many octets
 *   user                   print who this is
 *   lookup NAME            look up as makeconnection() does, IPv6 first: print which family it has found
 *   log LENGTH             log a line of so many letters
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

int SSL_CTX_load_verify_locations(void **context, const char *file, const char *folder) __attribute__((weak));

static void
sync_path(const char *path, int flags)
{
	int descriptor = open(path, flags | O_CLOEXEC);

	if (descriptor < 0 || fsync(descriptor) != 0)
		printf("sync %s: %s\n", path, strerrorname_np(errno));
	if (descriptor >= 0)
		close(descriptor);
}

static void
log_letters(size_t length)
{
	char *text = malloc(length + 1);

	memset(text, 'x', length);
	text[length] = '\0';
	syslog(LOG_MAIL | LOG_INFO, "%s", text);
	free(text);
}

int
main(int count, char **words)
{
	void *context = NULL;
	int status;

	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 1; i < count; i++) {
		const char *word = words[i], *next = i + 1 < count ? words[i + 1] : "";

		errno = 0;
		if (strcmp(word, "fork") == 0) {
			pid_t child = fork();

			if (child > 0) {
				waitpid(child, &status, 0);
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
			}
		} else if (strcmp(word, "user") == 0) {
			struct passwd *found = getpwuid(getuid());

			printf("%s\n", found == NULL ? "nobody" : found->pw_name);
		} else {
			i++;
			if (strcmp(word, "create") == 0)
				close(open(next, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
			else if (strcmp(word, "sync") == 0)
				sync_path(next, O_WRONLY);
			else if (strcmp(word, "sync-folder") == 0)
				sync_path(next, O_RDONLY | O_DIRECTORY);
			else if (strcmp(word, "unlink") == 0 && unlink(next) != 0)
				printf("unlink %s: %s\n", next, strerrorname_np(errno));
			else if (strcmp(word, "authorities") == 0) {
				status = SSL_CTX_load_verify_locations(&context, next, NULL);
				printf("authorities %d %ld\n", status, (long)context);
			} else if (strcmp(word, "hostname") == 0) {
				char *name = calloc(1, (size_t)atol(next) + 1);

				status = gethostname(name, (size_t)atol(next));
				printf("%d %s\n", status, name);
				free(name);
			} else if (strcmp(word, "lookup") == 0)
				printf("%s\n", gethostbyname2(next, AF_INET6) != NULL ? "IPv6"
				    : gethostbyname2(next, AF_INET) != NULL    ? "IPv4"
										: "none");
			else if (strcmp(word, "log") == 0)
				log_letters((size_t)atol(next));
		}
	}
	return 0;
}
