/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest kernel's symbols: lines as nm, System.map and /proc/kallsyms have them,
 *
 *   ADDRESS TYPE NAME      ffffffff81000123 T start_kernel
 *
 * of which functions in the kernel's half of the address space are kept. A function reaches to the
 * next one; the last is only the end of the one before it. Lines of modules ("NAME\t[MODULE]") are
 * left out: their addresses are not the image's.
 */
#include "cpu/symbols.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define KERNEL_HALF 0xffff800000000000ull
#define CHUNK       (64 * KIB)

struct symbol {
	u64 address;
	u32 name; /* in @names */
	u8 rank;  /* of several at one address the smallest is shown */
};

struct symbols {
	GArray *list; /* struct symbol, by address, one each */
	GString *names;
};

static int fail(GError **error, int code, unsigned line, const char *what)
{
	GString *where = g_string_new("the guest's symbols");

	if (line)
		g_string_append_printf(where, ", line %u", line);
	g_set_error(error, g_quark_from_static_string("lodge-cpu"), code, "%s: %s", where->str,
		    what);
	g_string_free(where, TRUE);
	return -code;
}

/* Global before local before weak, and what has no underscores before its aliases. */
static u8 rank_of(char type, const char *name)
{
	u8 underscores = strspn(name, "_") & 0x1f;

	return (strchr("Ww", type) ? 2 : type == 't' ? 1 : 0) + 3 * underscores;
}

/* One line of @bytes without its end. @*address is 0 where there is nothing to keep. */
static bool parse_line(const char *line, size_t bytes, u64 *address, char *type, const char **name,
		       size_t *name_bytes)
{
	size_t digits = 0, i;

	*address = 0;
	while (digits < bytes && digits < 16 && g_ascii_isxdigit(line[digits]))
		*address = *address << 4 | g_ascii_xdigit_value(line[digits++]);
	if (!digits) /* an undefined symbol: nm puts blanks for its address */
		while (digits < bytes && line[digits] == ' ')
			digits++;
	i = digits + (*line == ' ' ? 0 : 1);
	if (!digits || i + 3 > bytes || line[i - 1] != ' ' || !g_ascii_isalpha(line[i]) ||
	    line[i + 1] != ' ')
		return false;
	*type = line[i];
	*name = line + i + 2;
	*name_bytes = 0;
	while (*name + *name_bytes < line + bytes && g_ascii_isgraph((*name)[*name_bytes]))
		++*name_bytes;
	if (!*name_bytes || *name_bytes > SYMBOL_NAME_MAX)
		return false;
	i = bytes - (*name + *name_bytes - line);
	if (!i)
		return true;
	*address = 0;
	return i > 3 && (*name)[*name_bytes] == '\t' && (*name)[*name_bytes + 1] == '[' &&
	       line[bytes - 1] == ']';
}

static gint by_address(gconstpointer a, gconstpointer b)
{
	const struct symbol *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static void keep_one_each(GArray *list)
{
	unsigned kept = 0;

	g_array_sort(list, by_address);
	for (unsigned i = 0; i < list->len; i++) {
		struct symbol symbol = g_array_index(list, struct symbol, i);

		if (kept && g_array_index(list, struct symbol, kept - 1).address == symbol.address)
			continue;
		g_array_index(list, struct symbol, kept++) = symbol;
	}
	g_array_set_size(list, kept);
}

static int parse(struct symbols *s, const char *text, size_t bytes, GError **error)
{
	const char *end = text + bytes, *line_end;
	unsigned number = 1;

	if (bytes > SYMBOLS_BYTES_MAX)
		return fail(error, EFBIG, 0, "more than 64 MiB");
	for (const char *line = text; line < end; line = line_end + 1, number++) {
		struct symbol symbol = { .name = s->names->len };
		const char *name;
		size_t name_bytes;
		char type;

		line_end = memchr(line, '\n', end - line) ?: end;
		if (!parse_line(line, line_end - line, &symbol.address, &type, &name, &name_bytes))
			return fail(error, EINVAL, number,
				    "it is not ADDRESS TYPE NAME, as in System.map");
		if (symbol.address < KERNEL_HALF || !strchr("TtWw", type))
			continue;
		if (s->list->len == SYMBOLS_MAX)
			return fail(error, EFBIG, number, "more than 1048576 functions");
		g_string_append_len(s->names, name, name_bytes);
		g_string_append_c(s->names, '\0');
		symbol.rank = rank_of(type, s->names->str + symbol.name);
		g_array_append_val(s->list, symbol);
	}
	if (!s->list->len)
		return fail(error, EINVAL, 0,
			    "no function of a kernel is in them; take System.map from the kernel's "
			    "debug package, or /proc/kallsyms as root reads it");
	keep_one_each(s->list);
	return 0;
}

struct symbols *symbols_parse(const char *text, size_t bytes, GError **error)
{
	struct symbols *s = g_new0(struct symbols, 1);

	s->list = g_array_new(FALSE, FALSE, sizeof(struct symbol));
	s->names = g_string_new(NULL);
	if (parse(s, text, bytes, error)) {
		symbols_free(s);
		return NULL;
	}
	return s;
}

struct symbols *symbols_read(int fd, GError **error)
{
	GByteArray *text = g_byte_array_new();
	struct symbols *s = NULL;
	u8 chunk[CHUNK];
	ssize_t n;

	do {
		n = read(fd, chunk, sizeof(chunk));
		if (n > 0)
			g_byte_array_append(text, chunk, n);
	} while ((n > 0 && text->len <= SYMBOLS_BYTES_MAX) || (n < 0 && errno == EINTR));
	if (n < 0)
		fail(error, errno, 0, g_strerror(errno));
	else
		s = symbols_parse((const char *)text->data, text->len, error);
	g_byte_array_free(text, TRUE);
	return s;
}

void symbols_free(struct symbols *s)
{
	if (!s)
		return;
	g_array_unref(s->list);
	g_string_free(s->names, TRUE);
	g_free(s);
}

const char *symbols_find(const struct symbols *s, u64 address, u64 *offset)
{
	unsigned low = 0, high = s->list->len; /* the first that lies behind @address */
	const struct symbol *symbol;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (g_array_index(s->list, struct symbol, middle).address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || low == s->list->len)
		return NULL;
	symbol = &g_array_index(s->list, struct symbol, low - 1);
	*offset = address - symbol->address;
	return s->names->str + symbol->name;
}
