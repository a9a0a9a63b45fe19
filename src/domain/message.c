/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One place that makes messages, so that all of them read alike:
 *
 *   web1.xml:12: <target>: bus='scsi' is not in this version yet; use bus='virtio'
 */
#include "domain/message.h"

GQuark domain_error_quark(void)
{
	return g_quark_from_static_string("lodge-domain");
}

/* "web1.xml:12: <target>: ", as much of it as is known */
static char *place(const struct domain *domain, const xmlNode *node)
{
	long line = node ? xmlGetLineNo((xmlNode *)node) : 0;
	char *name = node ? xml_name(node) : NULL;
	GString *text = g_string_new(domain->file);

	if (line > 0)
		g_string_append_printf(text, ":%ld", line);
	g_string_append(text, ": ");
	if (name)
		g_string_append_printf(text, "<%s>: ", name);
	g_free(name);
	return g_string_free(text, FALSE);
}

char *domain_message_text(char *text)
{
	GString *shown = g_string_new(NULL);
	char *valid = g_utf8_make_valid(text, -1);

	for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
		gunichar c = g_utf8_get_char(p);

		g_string_append_unichar(shown, g_unichar_iscntrl(c) ? 0xfffd : c);
	}
	g_free(valid);
	g_free(text);
	return g_string_free(shown, FALSE);
}

bool domain_fail(const struct domain *domain, GError **error, enum domain_error code,
		 const xmlNode *node, const char *fmt, ...)
{
	char *prefix = place(domain, node), *text;
	va_list args;

	va_start(args, fmt);
	text = domain_message_text(g_strdup_vprintf(fmt, args));
	va_end(args);
	g_set_error(error, DOMAIN_ERROR, code, "%s%s", prefix, text);
	g_free(text);
	g_free(prefix);
	return false;
}

void domain_note(struct domain *domain, const xmlNode *node, const char *fmt, ...)
{
	char *prefix = place(domain, node), *text;
	va_list args;

	va_start(args, fmt);
	text = domain_message_text(g_strdup_vprintf(fmt, args));
	va_end(args);
	g_ptr_array_add(domain->notes, g_strconcat(prefix, text, NULL));
	g_free(text);
	g_free(prefix);
}

char *domain_element_label(const xmlNode *node)
{
	static const char *const telling[] = { "type", "model", "bus", "name", "state", "mode" };
	char *name = xml_name(node), *label = NULL;

	for (size_t i = 0; i < ARRAY_LEN(telling) && !label; i++) {
		const char *value = xml_attr(node, telling[i]);

		if (value)
			label = g_strdup_printf("<%s %s='%s'>", name, telling[i], value);
	}
	if (!label)
		label = g_strdup_printf("<%s>", name);
	g_free(name);
	return label;
}
