/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists the guests of a daemon, then says what happens to them.
 *
 *   cc -o watch watch.c $(pkg-config --cflags --libs lodge) && ./watch [URI] */
#include <lodge/lodge.h>
#include <poll.h>
#include <stdio.h>

static const char *const states[] = { "no state", "running",  "blocked", "paused",
				      "shutdown", "shut off", "crashed", "suspended" };
static const char *const events[] = { "defined", "undefined", "started",   "suspended", "resumed",
				      "stopped", "shut down", "suspended", "crashed" };

static int fail(void)
{
	const struct lodge_error *error = lodge_last_error();

	fprintf(stderr, "watch: %s\n", error->message);
	if (error->hint)
		fprintf(stderr, "watch: %s\n", error->hint);
	return 1;
}

static void on_event(struct lodge_domain *domain, enum lodge_domain_event_kind kind, int detail,
		     void *opaque)
{
	printf("%s: %s\n", lodge_domain_name(domain), events[kind]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct lodge_connection *c = lodge_connection_open(argv[1], LODGE_OPEN_READ_ONLY);
	struct lodge_domain **domains = c ? lodge_domain_list(c, 0) : NULL;
	struct pollfd input = { .events = POLLIN };

	if (!domains || lodge_domain_watch(c, NULL, on_event, NULL, 0) < 0)
		return fail();
	for (int i = 0; domains[i]; i++)
		printf("%s: %s\n", lodge_domain_name(domains[i]),
		       states[lodge_domain_state(domains[i], NULL, 0) & 7]);
	fflush(stdout);
	lodge_domains_free(domains);
	input.fd = lodge_connection_fd(c);
	while (poll(&input, 1, -1) > 0 && lodge_connection_dispatch(c) >= 0)
		;
	return fail();
}
