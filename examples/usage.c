/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All numbers of the guests that run, as lines "GUEST NAME VALUE", for programs that collect such.
 *
 *   cc -o usage usage.c $(pkg-config --cflags --libs lodge) && ./usage [URI] */
#include <inttypes.h>
#include <lodge/lodge.h>
#include <stdio.h>

static void print_value(const char *guest, const struct lodge_value *value)
{
	printf("%s %s ", guest, value->name);
	switch (value->kind) {
	case LODGE_VALUE_SIGNED: printf("%" PRId64 "\n", value->signed_number); break;
	case LODGE_VALUE_REAL: printf("%g\n", value->real); break;
	case LODGE_VALUE_TEXT: printf("%s\n", value->text); break;
	default: printf("%" PRIu64 "\n", value->unsigned_number);
	}
}

int main(int argc, char **argv)
{
	struct lodge_connection *c = lodge_connection_open(argv[1], LODGE_OPEN_READ_ONLY);
	struct lodge_domain **domains = c ? lodge_domain_list(c, LODGE_DOMAINS_ACTIVE) : NULL;

	if (!domains) {
		fprintf(stderr, "usage: %s\n", lodge_last_error()->message);
		return 1;
	}
	for (int i = 0; domains[i]; i++) {
		/* NULL: it has ended since it was listed */
		struct lodge_value *values = lodge_domain_values(domains[i], 0, 0);

		for (int n = 0; values && values[n].name; n++)
			print_value(lodge_domain_name(domains[i]), &values[n]);
		lodge_values_free(values);
	}
	lodge_domains_free(domains);
	lodge_connection_free(c);
	return 0;
}
