/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What domains, networks and pools have in common. */
#include "private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void object_init(struct object *object, struct lodge_connection *connection, const char *name,
		 const u8 *uuid)
{
	object->connection = connection_ref(connection);
	object->name = g_strdup(name);
	memcpy(object->uuid, uuid, LODGE_UUID_BYTES);
}

void object_clear(struct object *object)
{
	lodge_connection_free(object->connection);
	g_free(object->name);
}

void object_uuid(const struct object *object, char text[LODGE_UUID_CHARS])
{
	uuid_text(object->uuid, text);
}

void uuid_text(const u8 uuid[LODGE_UUID_BYTES], char text[LODGE_UUID_CHARS])
{
	char *to = text;

	for (unsigned i = 0; i < LODGE_UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		to += sprintf(to, "%02x", uuid[i]);
	}
}

void objects_free(void *array, void (*free_one)(void *member))
{
	void **members = array;

	for (unsigned i = 0; members && members[i]; i++)
		free_one(members[i]);
	g_free(array);
}

bool object_parse_uuid(const char *text, u8 uuid[LODGE_UUID_BYTES])
{
	if (!g_uuid_string_is_valid(text))
		return false;
	for (unsigned i = 0; i < LODGE_UUID_BYTES; i++, text += 2) {
		text += *text == '-';
		uuid[i] = g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]);
	}
	return true;
}
