/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domain XML from a stranger: parse, complete, make live; after each step the text that is written
 * reads back as the same domain, completing twice changes nothing, and a refusal says why.
 */
#include "domain/domain.h"
#include "fuzz.h"

#include <string.h>

const size_t fuzz_bytes_max = 16 * KIB;
const bool fuzz_text = true;

bool fuzz_seed(unsigned index, GByteArray *seed)
{
	static const char *const folders[] = { "examples",
					       "tests/compat/xml/hand",
					       "tests/compat/xml/libvirt",
					       "tests/compat/xml/virt-install",
					       "tests/compat/bad",
					       NULL };

	return fuzz_seed_file(folders, index, seed);
}

/* A refusal names something, in text that a terminal can show. */
static void refused(GError **error)
{
	FUZZ_CHECK(*error);
	FUZZ_CHECK(*(*error)->message);
	FUZZ_CHECK(g_utf8_validate((*error)->message, -1, NULL));
	g_clear_error(error);
}

static struct domain *read_again(const char *text)
{
	struct domain *again = domain_parse(text, strlen(text), "again.xml", NULL, NULL);
	char *copy;

	FUZZ_CHECK(again);
	copy = domain_format(again);
	FUZZ_CHECK(!strcmp(copy, text));
	g_free(copy);
	return again;
}

static void make_live(const struct domain *domain)
{
	GError *error = NULL;
	char *left_out = NULL, *text;
	struct domain *live = domain_make_live(domain, &left_out, &error);

	if (live) {
		text = domain_format(live);
		domain_free(read_again(text));
		g_free(text);
		domain_free(live);
	} else {
		refused(&error);
	}
	g_free(left_out);
}

static void complete(struct domain *domain)
{
	GError *error = NULL;
	struct domain *again;
	char *text, *twice;

	if (!domain_complete(domain, &error)) {
		refused(&error);
		return;
	}
	text = domain_format(domain);
	again = read_again(text);
	FUZZ_CHECK(domain_complete(again, NULL));
	twice = domain_format(again);
	FUZZ_CHECK(!strcmp(text, twice));
	g_free(twice);
	g_free(text);
	domain_free(again);
	make_live(domain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	GError *error = NULL;
	struct domain *domain =
		domain_parse((const char *)data, size, "guest.xml", "/directory", &error);
	char *text;

	if (!domain) {
		refused(&error);
		return 0;
	}
	text = domain_format(domain);
	domain_free(read_again(text));
	g_free(text);
	complete(domain);
	domain_free(domain);
	return 0;
}
