/*
 * Receiving mail servers that take everything and say when each message came.
 *
 *   sink RUN EXPECTED TIMEOUT DELAY TLS ADDRESS... [-- DEAD_ADDRESS...]
 *
 * Listens on port 25 of the addresses until EXPECTED different messages of this RUN came, or TIMEOUT seconds have passed, and
 * half a second longer, for those that come twice; at once where standard input ends. DELAY: milliseconds between a message's end and the answer. TLS 1: offers
 * STARTTLS, with /etc/bench/sink.pem. A dead address is a host that answers nothing: clients wait until they give up.
 *
 * Prints "ready", then JSON: {"connections": n, "tls": n, "strangers": n, "messages": [[i, sent at ns, came at ns, signed 0
 * or 1], ...], "sample": "the first message as it came"}. Strangers: messages of another run. It came when its last line had.
 *
 * gcc -O2 -Wall -Wextra -Werror -o sink sink.c -lpthread -lssl -lcrypto
 */

#include "smtp.h"

enum { LINGER_NS = 500 * 1000 * 1000, POLL_MS = 5, BACKLOG = 1024, PORT = 25, SAMPLE_SIZE = 4 * 1024 * 1024 };

struct arrival {
	long id;
	long long sent;
	int64_t came;
	bool is_signed;
};

static const char *run;
static int64_t delay;
static SSL_CTX *context; /* NULL: no STARTTLS */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct arrival *arrivals;
static size_t arrived, room_for;
static long expected, different;
static bool *seen; /* by id */
static long connections, handshakes, strangers;
static char *sample;
static size_t sample_length;

static void
note(const struct arrival *arrival)
{
	pthread_mutex_lock(&lock);
	if (arrived == room_for) {
		room_for = room_for * 2 + 1024;
		arrivals = must(realloc(arrivals, room_for * sizeof *arrivals));
	}
	arrivals[arrived++] = *arrival;
	/* ids may go beyond `expected', where some of a run's messages go to the dead */
	if (arrival->id < 4 * expected && !seen[arrival->id]) {
		seen[arrival->id] = true;
		different++;
	}
	pthread_mutex_unlock(&lock);
}

/* Take one message after its 354; false where the connection ended first. */
static bool
take_message(struct connection *c, bool is_sample)
{
	struct arrival arrival = { .id = -1 };
	char line[LINE_SIZE], name[64] = "";
	bool in_header = true;

	for (;;) {
		size_t length = read_line(c, line, sizeof line);

		if (length == 0)
			return false;
		if (strcmp(line, ".\r\n") == 0)
			break;
		if (is_sample && sample_length + length < SAMPLE_SIZE) {
			const char *kept = line[0] == '.' ? line + 1 : line; /* RFC 5321, 4.5.2 */

			memcpy(sample + sample_length, kept, strlen(kept));
			sample_length += strlen(kept);
		}
		if (!in_header)
			continue;
		if (strcmp(line, "\r\n") == 0)
			in_header = false;
		else if (strncasecmp(line, "DKIM-Signature:", 15) == 0)
			arrival.is_signed = true;
		else if (strncasecmp(line, "X-Bench:", 8) == 0)
			sscanf(line + 8, "%63s %ld %lld", name, &arrival.id, &arrival.sent);
	}
	arrival.came = now();
	if (arrival.id >= 0 && strcmp(name, run) == 0) {
		note(&arrival);
	} else {
		pthread_mutex_lock(&lock);
		strangers++;
		pthread_mutex_unlock(&lock);
	}
	pause_ns(delay);
	return true;
}

static bool
start_tls(struct connection *c)
{
	if (!write_text(c, "220 2.0.0 go on\r\n"))
		return false;
	SSL *tls = SSL_new(context);
	SSL_set_fd(tls, c->socket);
	if (SSL_accept(tls) <= 0) {
		SSL_free(tls);
		return false;
	}
	c->tls = tls;
	c->filled = c->taken = 0;
	pthread_mutex_lock(&lock);
	handshakes++;
	pthread_mutex_unlock(&lock);
	return true;
}

static void
converse(struct connection *c)
{
	static bool sample_taken;
	char line[LINE_SIZE], greeting[256];
	bool good = write_text(c, "220 mx.example ESMTP\r\n");

	while (good && read_line(c, line, sizeof line) > 0) {
		if (strncasecmp(line, "EHLO", 4) == 0) {
			snprintf(greeting, sizeof greeting,
			    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n%s250 ENHANCEDSTATUSCODES\r\n",
			    context != NULL && c->tls == NULL ? "250-STARTTLS\r\n" : "");
			good = write_text(c, greeting);
		} else if (strncasecmp(line, "STARTTLS", 8) == 0 && context != NULL && c->tls == NULL) {
			good = start_tls(c);
		} else if (strncasecmp(line, "DATA", 4) == 0) {
			pthread_mutex_lock(&lock);
			bool is_sample = !sample_taken;
			sample_taken = true;
			pthread_mutex_unlock(&lock);
			good = write_text(c, "354 go on\r\n") && take_message(c, is_sample) && write_text(c, "250 2.0.0 taken\r\n");
		} else if (strncasecmp(line, "QUIT", 4) == 0) {
			write_text(c, "221 2.0.0 bye\r\n");
			break;
		} else {
			good = write_text(c, "250 2.1.0 fine\r\n");
		}
	}
}

static void *
serve(void *argument)
{
	struct connection *c = argument;

	converse(c);
	if (c->tls != NULL) {
		SSL_shutdown(c->tls);
		SSL_free(c->tls);
	}
	close(c->socket);
	free(c);
	return NULL;
}

static struct sockaddr_in
address_of(const char *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
		die("not an IPv4 address: %s", text);
	return address;
}

static int
listen_on(const char *text, int backlog)
{
	struct sockaddr_in address = address_of(text);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, backlog) != 0)
		die("can't listen on %s: %s", text, strerror(errno));
	return listener;
}

/* A listener whose queue is full and never emptied: the kernel drops what else wants to connect (tcp_abort_on_overflow 0). */
static void
play_dead(const char *text)
{
	struct sockaddr_in address = address_of(text);

	listen_on(text, 0);
	for (int i = 0; i < 3; i++)
		/* never closed: they are what fills it */
		connect(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), (struct sockaddr *)&address, sizeof address);
}

static void *
accept_all(void *argument)
{
	int listener = (int)(intptr_t)argument;
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	for (;;) {
		int got = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (got < 0)
			continue;
		prepare_socket(got);
		struct connection *c = must(calloc(1, sizeof *c));
		c->socket = got;
		pthread_mutex_lock(&lock);
		connections++;
		pthread_mutex_unlock(&lock);
		if (pthread_create(&thread, &attributes, serve, c) != 0)
			die("no thread for a connection");
	}
}

static SSL_CTX *
make_context(void)
{
	SSL_CTX *made = SSL_CTX_new(TLS_server_method());

	if (SSL_CTX_use_certificate_file(made, "/etc/bench/sink.pem", SSL_FILETYPE_PEM) != 1
	    || SSL_CTX_use_PrivateKey_file(made, "/etc/bench/sink.pem", SSL_FILETYPE_PEM) != 1)
		die("can't use /etc/bench/sink.pem");
	return made;
}

static void
print_json_text(const char *text, size_t length)
{
	putchar('"');
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)text[i];

		if (byte < ' ' || byte == '"' || byte == '\\' || byte > '~')
			printf("\\u%04x", byte);
		else
			putchar(byte);
	}
	putchar('"');
}

int
main(int count, char **words)
{
	pthread_t thread;
	int i = 6;

	if (count < 7)
		die("usage: sink RUN EXPECTED TIMEOUT DELAY TLS ADDRESS... [-- DEAD_ADDRESS...]");
	run = words[1];
	expected = number(words[2]);
	int64_t deadline = now() + number(words[3]) * INT64_C(1000000000);
	delay = number(words[4]) * INT64_C(1000000);
	context = number(words[5]) != 0 ? make_context() : NULL;
	seen = must(calloc((size_t)(4 * expected + 1), sizeof *seen));
	sample = must(malloc(SAMPLE_SIZE));
	signal(SIGPIPE, SIG_IGN);
	for (; i < count && strcmp(words[i], "--") != 0; i++)
		if (pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)listen_on(words[i], BACKLOG)) != 0)
			die("no thread for a listener");
	for (i++; i < count; i++)
		play_dead(words[i]);
	puts("ready");
	fflush(stdout);

	for (bool done = false; !done && now() < deadline;) {
		struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

		if (poll(&input, 1, POLL_MS) > 0)
			return 1; /* nothing is ever written there: whoever started this has gone */
		pthread_mutex_lock(&lock);
		done = different >= expected;
		pthread_mutex_unlock(&lock);
	}
	pause_ns(LINGER_NS);

	pthread_mutex_lock(&lock);
	printf("{\"connections\": %ld, \"tls\": %ld, \"strangers\": %ld, \"messages\": [", connections, handshakes, strangers);
	for (size_t at = 0; at < arrived; at++)
		printf("%s[%ld, %lld, %lld, %d]", at > 0 ? ", " : "", arrivals[at].id, arrivals[at].sent,
		    (long long)arrivals[at].came, arrivals[at].is_signed);
	printf("], \"sample\": ");
	print_json_text(sample, sample_length);
	printf("}\n");
	return 0;
}
