/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose files a guest may have. See authority.h. */
#include "daemon/authority.h"

#include <string.h>
#include <unistd.h>

#define HEAD       "lodge-owner 1"
#define GROUPS_MAX 65536 /* what Linux has */

static struct launch_authority *make(uid_t uid, gid_t gid, const gid_t *groups, unsigned count)
{
	struct launch_authority *authority = g_new0(struct launch_authority, 1);

	authority->uid = uid;
	authority->gid = gid;
	authority->groups = g_memdup2(groups, count * sizeof(*groups));
	authority->group_count = count;
	return authority;
}

bool authority_is_own(const struct rpc_identity *identity, s64 trusted)
{
	return identity->uid == 0 || identity->uid == geteuid() || identity->uid == trusted;
}

struct launch_authority *authority_copy(const struct launch_authority *a)
{
	return a ? make(a->uid, a->gid, a->groups, a->group_count) : NULL;
}

void authority_free(struct launch_authority *authority)
{
	if (!authority)
		return;
	g_free(authority->groups);
	g_free(authority);
}

char *authority_write(const struct launch_authority *a)
{
	GString *text = g_string_new(NULL);

	if (a) {
		g_string_append_printf(text, HEAD " %u %u", a->uid, a->gid);
		for (unsigned i = 0; i < a->group_count; i++)
			g_string_append_printf(text, " %u", a->groups[i]);
		g_string_append_c(text, '\n');
	}
	return g_string_free(text, FALSE);
}

/* A user's or group's number; -1 is none (chown(2)). */
static bool read_id(const char *word, u32 *id)
{
	u64 value;

	if (!g_ascii_string_to_unsigned(word, 10, 0, G_MAXUINT32 - 1, &value, NULL))
		return false;
	*id = value;
	return true;
}

bool authority_read(const char *text, struct launch_authority **authority)
{
	g_auto(GStrv) words = NULL;
	g_autofree gid_t *groups = NULL;
	unsigned count;
	u32 uid, gid;

	*authority = NULL;
	if (!*text)
		return true;
	if (!g_str_has_prefix(text, HEAD " ") || !g_str_has_suffix(text, "\n"))
		return false;
	words = g_strsplit_set(text + strlen(HEAD " "), " \n", GROUPS_MAX + 3);
	count = g_strv_length(words) - 1; /* the last is what is behind the line: nothing */
	if (count < 2 || !read_id(words[0], &uid) || !read_id(words[1], &gid) || !uid)
		return false;
	groups = g_new0(gid_t, count);
	for (unsigned i = 2; i < count; i++)
		if (!read_id(words[i], &groups[i - 2]))
			return false;
	*authority = make(uid, gid, groups, count - 2);
	return true;
}

/*
 *   <domain>...</domain>
 *   <!-- lodge-owner 1 UID GID GROUP... -->
 */

#define MARK_BEGIN "<!-- "
#define MARK_END   " -->\n"

char *authority_mark(char *text, const struct launch_authority *authority)
{
	g_autofree char *before = text;
	g_autofree char *line = g_strchomp(authority_write(authority));

	return *line ? g_strconcat(text, MARK_BEGIN, line, MARK_END, NULL)
		     : g_steal_pointer(&before);
}

bool authority_unmark(char *text, gsize *length, struct launch_authority **authority)
{
	char *line = g_strrstr(text, "\n" MARK_BEGIN);
	g_autofree char *written = NULL;

	*authority = NULL;
	if (!line || !g_str_has_suffix(line, MARK_END))
		return true;
	line++;
	written = g_strconcat(line + strlen(MARK_BEGIN), NULL);
	strcpy(written + strlen(written) - strlen(MARK_END), "\n");
	*line = '\0';
	*length = line - text;
	return authority_read(written, authority);
}

bool authority_is_member(const struct rpc_identity *identity, gid_t group)
{
	if (identity->gid == group)
		return true;
	for (unsigned i = 0; i < identity->group_count; i++)
		if (identity->groups[i] == group)
			return true;
	return false;
}
