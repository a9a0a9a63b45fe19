/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Symbols of a guest's kernel: what is found lies before what was asked for.
 */
#include "cpu/symbols.h"
#include "fuzz.h"

#include <string.h>

const size_t fuzz_bytes_max = 4 * KIB;
const bool fuzz_text = true;

bool fuzz_seed(unsigned index, GByteArray *seed)
{
	static const char *const seeds[] = {
		"ffffffff81000000 T _text\nffffffff81000000 T startup_64\nffffffff81000100 t f\n",
		"0000000000000000 A fixed_percpu_data\nffffffff81000000 W weak\n"
		"                 U undefined\nffffffffc0000000 t f\t[module]\n",
	};

	if (index >= ARRAY_LEN(seeds))
		return false;
	g_byte_array_append(seed, (const guint8 *)seeds[index], strlen(seeds[index]));
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	GError *error = NULL;
	struct symbols *symbols = symbols_parse((const char *)data, size, &error);

	FUZZ_CHECK(!symbols == !!error);
	FUZZ_CHECK(symbols || g_utf8_validate(error->message, -1, NULL));
	g_clear_error(&error);
	for (u64 address = 0xffffffff80fffff0; symbols && address < 0xffffffff81000200; address++) {
		u64 offset;
		const char *name = symbols_find(symbols, address, &offset);

		FUZZ_CHECK(!name || (*name && strlen(name) <= SYMBOL_NAME_MAX));
		FUZZ_CHECK(!name || offset <= address - 0xffff800000000000);
	}
	symbols_free(symbols);
	return 0;
}
