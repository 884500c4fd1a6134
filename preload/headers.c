/*
 * Makes sendmail pass a message's header on unchanged.
 *
 * sendmail 8.18 knows some fields by name (HdrInfo in conf.c) and rewrites those with addresses when it delivers: white space
 * and quotes differ, addresses change, lists are cut (commaize() in headers.c). It drops Full-Name, Content-Length and
 * Return-Path, expands macros in Return-Path, and treats Message: and Text: as the end of the header. No option turns this
 * off, and each of these breaks the signer's signature. So the flags for it are cleared in the table here, before main() reads
 * it; the signer judges addresses, and rewrites those that the configuration rewrites. Bcc: keeps its flags: the signer
 * removes it, but messages that sendmail makes itself would show it.
 *
 * Two text constants are replaced: see leave_headers_alone().
 *
 * The table is found by its names and must equal the one that this was written for, and the version must be the one whose
 * source the whole library was written against. Any other sendmail exits at once, and with it the image's build or the start.
 */

#define _GNU_SOURCE

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload.h"

/* sendmail.h */
enum {
	H_EOH = 0x1,
	H_RCPT = 0x2,
	H_RESENT = 0x8,
	H_ACHECK = 0x20,
	H_FORCE = 0x40,
	H_TRACE = 0x80,
	H_FROM = 0x100,
	H_RECEIPTTO = 0x400,
	H_ERRORSTO = 0x800,
	H_CTE = 0x1000,
	H_CTYPE = 0x2000,
	H_BCC = 0x4000,
	H_ENCODABLE = 0x8000,
	H_BINDLATE = 0x20000,

	REWRITTEN = H_EOH | H_RCPT | H_RESENT | H_ACHECK | H_FROM | H_RECEIPTTO | H_ERRORSTO | H_BINDLATE,
};

struct field { /* struct hdrinfo */
	const char *name;
	unsigned long flags;
	char *ruleset;
};

/* HdrInfo of sendmail 8.18.1 */
static const struct field known[] = {
	{ "resent-sender", H_FROM | H_RESENT, NULL },
	{ "resent-from", H_FROM | H_RESENT, NULL },
	{ "resent-reply-to", H_FROM | H_RESENT, NULL },
	{ "sender", H_FROM, NULL },
	{ "from", H_FROM, NULL },
	{ "reply-to", H_FROM, NULL },
	{ "errors-to", H_FROM | H_ERRORSTO, NULL },
	{ "full-name", H_ACHECK, NULL },
	{ "return-receipt-to", H_RECEIPTTO, NULL },
	{ "delivery-receipt-to", H_RECEIPTTO, NULL },
	{ "disposition-notification-to", H_FROM, NULL },
	{ "to", H_RCPT, NULL },
	{ "resent-to", H_RCPT | H_RESENT, NULL },
	{ "cc", H_RCPT, NULL },
	{ "resent-cc", H_RCPT | H_RESENT, NULL },
	{ "bcc", H_RCPT | H_BCC, NULL },
	{ "resent-bcc", H_RCPT | H_BCC | H_RESENT, NULL },
	{ "apparently-to", H_RCPT, NULL },
	{ "message-id", 0, NULL },
	{ "resent-message-id", H_RESENT, NULL },
	{ "message", H_EOH, NULL },
	{ "text", H_EOH, NULL },
	{ "date", 0, NULL },
	{ "resent-date", H_RESENT, NULL },
	{ "received", H_TRACE | H_FORCE, NULL },
	{ "x400-received", H_TRACE | H_FORCE, NULL },
	{ "via", H_TRACE | H_FORCE, NULL },
	{ "mail-from", H_TRACE | H_FORCE, NULL },
	{ "comments", H_FORCE | H_ENCODABLE, NULL },
	{ "return-path", H_FORCE | H_ACHECK | H_BINDLATE, NULL },
	{ "content-transfer-encoding", H_CTE, NULL },
	{ "content-type", H_CTYPE, NULL },
	{ "content-length", H_ACHECK, NULL },
	{ "subject", H_ENCODABLE, NULL },
	{ "x-authentication-warning", H_FORCE, NULL },
};

enum { FIELDS = sizeof known / sizeof known[0] };

struct program {
	uintptr_t start, end; /* of all its loaded segments */
	struct field *table;
	uintptr_t constants; /* the last read-only segment */
	size_t constants_size;
	bool is_read_in; /* its version is READ_IN */
};

static bool
is_in(const struct program *program, const void *address)
{
	return (uintptr_t)address >= program->start && (uintptr_t)address < program->end;
}

static bool
is_table(const struct program *program, const struct field *at)
{
	for (size_t i = 0; i < FIELDS; i++)
		if (!is_in(program, at[i].name) || strncmp(at[i].name, known[i].name, 32) != 0
		    || at[i].flags != known[i].flags || at[i].ruleset != NULL)
			return false;
	return at[FIELDS].name == NULL;
}

/* Find the table in the program itself, which is the first object; ``table`` stays NULL if it is not found. */
static int
search(struct dl_phdr_info *info, size_t size, void *data)
{
	static const char version[] = "\0" READ_IN; /* Version[] of version.c */
	struct program *program = data;

	(void)size;
	program->start = UINTPTR_MAX;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type != PT_LOAD)
			continue;
		if (part->p_flags == PF_R) {
			program->constants = info->dlpi_addr + part->p_vaddr;
			program->constants_size = part->p_filesz;
		}
		if (info->dlpi_addr + part->p_vaddr < program->start)
			program->start = info->dlpi_addr + part->p_vaddr;
		if (info->dlpi_addr + part->p_vaddr + part->p_memsz > program->end)
			program->end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
	}
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + part->p_vaddr;

		if (part->p_type == PT_LOAD && (part->p_flags & PF_W) != 0
		    && memmem((void *)at, part->p_filesz, version, sizeof version) != NULL)
			program->is_read_in = true;
	}
	for (int i = 0; i < info->dlpi_phnum && program->table == NULL; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + part->p_vaddr, last;

		if (part->p_type != PT_LOAD || (part->p_flags & PF_W) == 0 || part->p_memsz < (FIELDS + 1) * sizeof known[0])
			continue;
		last = at + part->p_memsz - (FIELDS + 1) * sizeof known[0];
		for (at = (at + 7) & ~(uintptr_t)7; at <= last; at += 8)
			if (is_table(program, (const struct field *)at)) {
				program->table = (struct field *)at;
				break;
			}
	}
	return 1;
}

bool
is_sendmail(void)
{
	static char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);

	path[length < 0 ? 0 : length] = '\0';
	return strcmp(path, "/usr/libexec/sendmail/sendmail") == 0;
}

/* Replace a text constant, which must occur exactly once in sendmail, by another of the same length. */
static bool
replace(const struct program *program, const char *old, const char *new)
{
	uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE), page;
	size_t length = strlen(old) + 1;
	char *found = NULL, *at = (char *)program->constants, *end = at + program->constants_size;

	while ((at = memmem(at, (size_t)(end - at), old, length)) != NULL) {
		if (at[-1] == '\0') {
			if (found != NULL)
				return false;
			found = at;
		}
		at += length;
	}
	page = (uintptr_t)found & ~(size - 1);
	if (found == NULL || mprotect((void *)page, (uintptr_t)found + length - page, PROT_READ | PROT_WRITE) != 0)
		return false;
	memcpy(found, new, length);
	return mprotect((void *)page, (uintptr_t)found + length - page, PROT_READ) == 0;
}

__attribute__((constructor)) static void
leave_headers_alone(void)
{
	static const char complaint[] = "postroad-preload: this sendmail is not " READ_IN
	    ", which preload/ was written for: read what each file there names in the new one, then change READ_IN in preload.h\n";
	struct program program = { 0 };

	if (!is_sendmail())
		return;
	dl_iterate_phdr(search, &program);
	if (program.table == NULL || !program.is_read_in
	    /*
	     * eatheader() looks for a Content-Type field to learn the message's type, and cuts one that is too long at 256
	     * characters, before any milter sees it. No field has a space in its name, so it finds none.
	     */
	    || !replace(&program, "content-type", " ontent-type")
	    /* refuse a message with a bare CR or LF permanently: sending it again would not help */
	    || !replace(&program, "421 4.5.0 %s", "550 5.6.0 %s")) {
		(void)!write(STDERR_FILENO, complaint, sizeof complaint - 1);
		_exit(70);
	}
	for (size_t i = 0; i < FIELDS; i++)
		if ((known[i].flags & H_BCC) == 0)
			program.table[i].flags &= ~(unsigned long)REWRITTEN;
}
