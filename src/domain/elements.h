/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of the domain XML: one row for each element and attribute that Lodge looks at.
 *
 * A path names an element below <domain> ("devices/disk/driver") or an attribute of one
 * ("devices/disk/driver@cache"). "devices/ * /alias" (without the blanks) serves every device that
 * has no row of its own for it. The order of the rows is the order in which elements are written.
 *
 *   text --parse--> tree --check.c, by the rows--> validate.c --complete.c--> struct domain
 *
 * What a row says:
 *   kind    how the value is read and checked when the XML is parsed
 *   values  for WORD the words libvirt defines, each with an optional mark:
 *             plain   this version does it
 *             !word   kept, but a guest that has it is refused at start
 *             ~word   kept, but the device is left out of the running guest
 *           for NUMBER and PORT the smallest and the largest value
 *   use     what becomes of the element when the guest starts
 *   remedy  what to write instead; ends the message of a refusal
 */
#ifndef LODGE_DOMAIN_ELEMENTS_H
#define LODGE_DOMAIN_ELEMENTS_H

#include <glib.h>
#include <stdbool.h>

enum element_kind {
	KIND_TREE,   /* anything: this element and all below are kept as they are */
	KIND_PARENT, /* an element of elements: those below have rows */
	KIND_FLAG,   /* an element that is there or not */
	KIND_TEXT,   /* any text */
	KIND_LINE,   /* text without a line break, not empty */
	KIND_NUMBER, /* an integer, decimal or 0x */
	KIND_SIZE,   /* an amount of memory; its unit is in the attribute "unit" */
	KIND_UNIT,
	KIND_WORD,
	KIND_UUID,
	KIND_MAC,
	KIND_PATH, /* a file; a relative one is taken from the XML's directory */
};

enum element_use {
	USE_FULL,   /* read: it shapes the guest */
	USE_NOTE,   /* says nothing to the guest: kept, and that is all there is to do */
	USE_HINT,   /* tuning that has no effect yet: kept, and named in the warning at start */
	USE_EXTRA,  /* a comfort this version lacks: left out of the running guest, and named */
	USE_NEEDED, /* the guest cannot do without and this version lacks it: refused at start */
};

struct element {
	const char *path;
	enum element_kind kind;
	enum element_use use;
	const char *values;
	const char *remedy;
	bool many; /* may stand more than once below one parent */
};

/* elements.c */

/* The rows, in the order in which elements are written; *@count gets their number. */
const struct element *elements_all(size_t *count);
/* path -> struct element, for many look-ups; the caller frees it with g_hash_table_unref(). */
GHashTable *elements_index(void);
/* The row for @path, or the one for "devices/ * /REST", or NULL. */
const struct element *elements_find(GHashTable *index, const char *path);
/* The mark of @word in a WORD row: ' ' done, '!' refused, '~' left out; 0 when not listed. */
char element_word_mark(const struct element *row, const char *word);
/* The words of a row without their marks, as "a, b or c"; the caller frees it. */
char *element_words(const struct element *row);

#endif
