/*
 * A verdict of the rules on a recipient does not depend on what happened before in the same process.
 *
 * rscheck() (parseaddr.c) returns ExitStat, the program's exit status, which setstat() (sendmail.h) leaves alone once it says
 * that something failed for good: a recipient that was refused, at RCPT or by a receiver, and be it one of another message.
 * A later verdict that puts a recipient off ("4.7.0") then counts as that failure, and the recipient bounces, or is lost if
 * the message is a bounce itself. deliver() goes by this number for the rulesets tls_rcpt and check_compat; for all others
 * sendmail goes by the first digit of the verdict's text.
 *
 *   getpwnam()     of the name VERDICT (host.c), which such a ruleset looks up in a map of the class "user" before it judges,
 *                  sets ExitStat to EX_OK.
 *
 * sendmail's symbols are stripped, so the image's build finds the place (exit_status.c) and writes it to PLACE: its offset in
 * the program, in hexadecimal. Without a place that can be right, sendmail exits at once.
 */

#define _GNU_SOURCE

#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "preload.h"

#define VERDICT "postroad-verdict"
#define PLACE "/usr/local/lib/postroad/exit-status"

static int *exit_status;

/* Make the program's offset in exit_status an address, or NULL if no variable can be there. */
static int
locate(struct dl_phdr_info *program, size_t size, void *data)
{
	uintptr_t offset = *(uintptr_t *)data;

	(void)size;
	for (int i = 0; i < program->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &program->dlpi_phdr[i];

		if (part->p_type == PT_LOAD && (part->p_flags & PF_W) != 0 && offset % sizeof *exit_status == 0
		    && offset >= part->p_vaddr + part->p_filesz /* ExitStat has no initial value */
		    && offset + sizeof *exit_status <= part->p_vaddr + part->p_memsz)
			exit_status = (int *)(program->dlpi_addr + offset);
	}
	return 1; /* the program is the first of all objects */
}

__attribute__((constructor)) static void
find_exit_status(void)
{
	static const char complaint[] = "postroad-preload: " PLACE " does not say where sendmail's exit status is: build the image again\n";
	char text[32] = "", *end = text;
	uintptr_t offset;
	int descriptor;

	if (!is_sendmail())
		return;
	if ((descriptor = open(PLACE, O_RDONLY | O_CLOEXEC)) >= 0) {
		(void)!read(descriptor, text, sizeof text - 1);
		close(descriptor);
	}
	offset = strtoul(text, &end, 16);
	if (end != text && strcmp(end, "\n") == 0)
		dl_iterate_phdr(locate, &offset);
	if (exit_status == NULL || *exit_status != EX_OK) {
		(void)!write(STDERR_FILENO, complaint, sizeof complaint - 1);
		_exit(EX_SOFTWARE);
	}
}

bool
verdict_begins(const char *name)
{
	if (strcmp(name, VERDICT) != 0)
		return false;
	if (exit_status != NULL)
		*exit_status = EX_OK;
	return true;
}
