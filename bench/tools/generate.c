/*
 * Hands messages to a relay, as an app would, and says how long it waited for each.
 *
 *   generate HOST PORT RUN SESSIONS MESSAGES SIZE REUSE RATE DOMAIN...
 *
 * Message i goes to ui@ the (i mod n)th of the n domains, with SIZE bytes of text (several, with commas between: the (i mod m)th
 * of the m) and a field "X-Bench: RUN i TIME", the time
 * being that of its DATA. REUSE 1: a session keeps its connection. RATE: messages begun a second over all sessions, 0: as
 * fast as they go. Waiting begins with the connection, or with MAIL where that is reused, and ends with the answer to the
 * message. What fails before its last line is tried again, as an app would; after it, the message counts as not accepted.
 *
 * Prints JSON: {"began": ns, "retries": n, "messages": [[i, begun at ns, waited ns, accepted 0 or 1], ...]}
 *
 * gcc -O2 -Wall -Wextra -Werror -o generate generate.c -lpthread -lssl
 */

#include "smtp.h"

enum { TRIES = 4, RETRY_NS = 50 * 1000 * 1000 };

struct message {
	int64_t begun, waited;
	bool accepted;
};

static struct sockaddr_in relay;
static const char *run;
enum { MOST_SIZES = 64 };

static long messages, rate, sizes[MOST_SIZES], size_count, largest;
static bool reuse;
static char **domains;
static long domain_count;
static char *text;
static struct message *results;
static int64_t began;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long next_message, retries;

/* The code of an answer, of all its lines; 0 where the connection ended. */
static int
answer(struct connection *c)
{
	char line[LINE_SIZE];

	do {
		if (read_line(c, line, sizeof line) == 0)
			return 0;
	} while (line[3] == '-');
	if (line[0] >= '4')
		fprintf(stderr, "answered: %s", line);
	return atoi(line);
}

static bool
command(struct connection *c, int expected, const char *line)
{
	return write_text(c, line) && answer(c) == expected;
}

static void
hang_up(struct connection *c)
{
	if (c->socket >= 0)
		close(c->socket);
	c->socket = -1;
}

static bool
dial(struct connection *c)
{
	c->filled = c->taken = 0;
	c->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->socket < 0)
		die("no socket: %s", strerror(errno));
	prepare_socket(c->socket);
	return connect(c->socket, (struct sockaddr *)&relay, sizeof relay) == 0 && answer(c) == 220
	    && command(c, 250, "EHLO app.example\r\n");
}

/* Hand message i over; whether the relay may have it: the answer is then the last word. */
static bool
hand_over(struct connection *c, long i, char *room)
{
	char line[LINE_SIZE], date[64];
	const char *domain = domains[i % domain_count];
	long size = sizes[i % size_count];
	time_t seconds = time(NULL);
	struct tm utc;
	size_t length;

	if (c->socket < 0 && !dial(c))
		return false;
	snprintf(line, sizeof line, "RCPT TO:<u%ld@%s>\r\n", i, domain);
	if (!command(c, 250, "MAIL FROM:<app@sender.example>\r\n") || !command(c, 250, line))
		return false;
	int64_t data_at = now();
	if (!command(c, 354, "DATA\r\n"))
		return false;
	strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&seconds, &utc));
	length = (size_t)sprintf(room,
	    "From: App <app@sender.example>\r\nTo: u%ld@%s\r\nSubject: message %ld\r\nDate: %s\r\n"
	    "Message-ID: <%s.%ld@sender.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
	    "X-Bench: %s %ld %lld\r\n\r\n", i, domain, i, date, run, i, run, i, (long long)data_at);
	memcpy(room + length, text, (size_t)size);
	length += (size_t)size - (size > 0 && text[size - 1] == '\r'); /* what follows begins with one */
	memcpy(room + length, "\r\n.\r\n", 5);
	results[i].accepted = write_all(c, room, length + 5) && answer(c) == 250;
	return true;
}

static void *
session(void *unused)
{
	struct connection *c = must(calloc(1, sizeof *c));
	char *room = must(malloc((size_t)largest + LINE_SIZE));

	(void)unused;
	c->socket = -1;
	for (;;) {
		pthread_mutex_lock(&lock);
		long i = next_message < messages ? next_message++ : -1;
		pthread_mutex_unlock(&lock);
		if (i < 0)
			break;
		if (rate > 0)
			pause_ns(began + i * INT64_C(1000000000) / rate - now());
		results[i].begun = now();
		for (int left = TRIES; !hand_over(c, i, room) && --left > 0;) {
			hang_up(c);
			pthread_mutex_lock(&lock);
			retries++;
			pthread_mutex_unlock(&lock);
			pause_ns(RETRY_NS);
		}
		results[i].waited = now() - results[i].begun;
		if (!results[i].accepted)
			hang_up(c);
		else if (!reuse) {
			command(c, 221, "QUIT\r\n");
			hang_up(c);
		}
	}
	if (c->socket >= 0)
		command(c, 221, "QUIT\r\n");
	hang_up(c);
	free(room);
	free(c);
	return NULL;
}

/* Lines of 72 letters: nothing to encode, nothing to fold, and no dot at a line's start. */
static char *
make_text(size_t length)
{
	char *made = must(malloc(length + 1));

	for (size_t at = 0; at < length; at++)
		made[at] = at % 74 == 72 ? '\r' : at % 74 == 73 ? '\n' : (char)('a' + at * 7 % 26);
	return made;
}

int
main(int count, char **words)
{
	struct addrinfo *found, wanted = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	pthread_attr_t attributes;

	if (count < 10)
		die("usage: generate HOST PORT RUN SESSIONS MESSAGES SIZE REUSE RATE DOMAIN...");
	if (getaddrinfo(words[1], words[2], &wanted, &found) != 0)
		die("no such host: %s", words[1]);
	relay = *(struct sockaddr_in *)found->ai_addr;
	run = words[3];
	long sessions = number(words[4]);
	messages = number(words[5]);
	for (char *word = strtok(words[6], ","); word != NULL && size_count < MOST_SIZES; word = strtok(NULL, ",")) {
		sizes[size_count++] = number(word);
		largest = largest > sizes[size_count - 1] ? largest : sizes[size_count - 1];
	}
	if (size_count == 0)
		die("no size");
	reuse = number(words[7]) != 0;
	rate = number(words[8]);
	domains = words + 9;
	domain_count = count - 9;
	text = make_text((size_t)largest);
	results = must(calloc((size_t)messages, sizeof *results));
	signal(SIGPIPE, SIG_IGN);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);

	pthread_t *threads = must(calloc((size_t)sessions, sizeof *threads));
	began = now();
	for (long i = 0; i < sessions; i++)
		if (pthread_create(&threads[i], &attributes, session, NULL) != 0)
			die("no thread for session %ld", i);
	for (long i = 0; i < sessions; i++)
		pthread_join(threads[i], NULL);

	printf("{\"began\": %lld, \"retries\": %ld, \"messages\": [", (long long)began, retries);
	for (long i = 0; i < messages; i++)
		printf("%s[%ld, %lld, %lld, %d]", i > 0 ? ", " : "", i, (long long)results[i].begun,
		    (long long)results[i].waited, results[i].accepted);
	printf("]}\n");
	return 0;
}
