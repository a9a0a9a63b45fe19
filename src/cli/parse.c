/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From words to an invocation, by the command's table of options. */
#include "cli/command.h"

#include <string.h>

static GQuark usage_quark(void)
{
	return g_quark_from_static_string("lodge-usage");
}

static bool fail(GError **error, const struct command *command, const char *fmt, ...)
	G_GNUC_PRINTF(3, 4);

static bool fail(GError **error, const struct command *command, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	*error = g_error_new_valist(usage_quark(), EXIT_USAGE, fmt, args);
	va_end(args);
	g_prefix_error(error, "%s: ", command->name);
	return false;
}

static bool is_listed_word(const char *list, const char *value)
{
	char **words = g_strsplit(list, "|", -1);
	bool found = g_strv_contains((const char *const *)words, value);

	g_strfreev(words);
	return found;
}

static bool store(struct invocation *invocation, const struct command_option *option,
		  const char *value, GError **error)
{
	GPtrArray *values = g_hash_table_lookup(invocation->values, option->name);

	if (option->kind == VALUE_WORD && !is_listed_word(option->value, value))
		return fail(error, invocation->command, "%s is %s, not '%s'", option->name,
			    option->value, value);
	if (!values) {
		values = g_ptr_array_new();
		g_hash_table_insert(invocation->values, (gpointer)option->name, values);
	} else if (!option->many) {
		return fail(error, invocation->command, "%s is given twice", option->name);
	}
	g_ptr_array_add(values, (gpointer)value);
	return true;
}

/* Takes the option at argv[*at], and the word after it when that is its value. */
static bool take_option(struct invocation *invocation, int argc, char **argv, int *at,
			GError **error)
{
	const char *word = argv[*at], *equals = strchr(word, '=');
	size_t length = equals ? (size_t)(equals - word) : strlen(word);
	const struct command_option *option =
		command_option_find(invocation->command, word, length);

	if (!option)
		return fail(error, invocation->command,
			    "there is no option %.*s; see lodge %s "
			    "--help",
			    (int)length, word, invocation->command->name);
	if (option->kind == VALUE_NONE) {
		if (equals)
			return fail(error, invocation->command, "%s takes no value", option->name);
		return store(invocation, option, "", error);
	}
	if (equals)
		return store(invocation, option, equals + 1, error);
	if (*at + 1 >= argc)
		return fail(error, invocation->command, "%s needs a value: %s", option->name,
			    option->value);
	return store(invocation, option, argv[++*at], error);
}

struct invocation *invocation_parse(const struct command *command, int argc, char **argv,
				    GError **error)
{
	struct invocation *invocation = g_new0(struct invocation, 1);
	bool options = true, good = true;

	invocation->command = command;
	invocation->arguments = g_ptr_array_new();
	invocation->values = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
						   (GDestroyNotify)g_ptr_array_unref);
	for (int i = 0; i < argc && good; i++) {
		if (options && !strcmp(argv[i], "--"))
			options = false;
		else if (options && argv[i][0] == '-' && argv[i][1])
			good = take_option(invocation, argc, argv, &i, error);
		else if (invocation->arguments->len == command->arguments_max)
			good = fail(error, command, "one argument too many: '%s'", argv[i]);
		else
			g_ptr_array_add(invocation->arguments, argv[i]);
	}
	if (good && invocation->arguments->len < command->arguments_min)
		good = fail(error, command, "an argument is missing: lodge %s %s", command->name,
			    command->arguments);
	if (!good) {
		invocation_free(invocation);
		return NULL;
	}
	return invocation;
}

void invocation_free(struct invocation *invocation)
{
	g_ptr_array_unref(invocation->arguments);
	g_hash_table_unref(invocation->values);
	g_free(invocation);
}

bool invocation_has(const struct invocation *invocation, const char *option)
{
	return g_hash_table_contains(invocation->values, option);
}

const char *invocation_value(const struct invocation *invocation, const char *option)
{
	GPtrArray *values = g_hash_table_lookup(invocation->values, option);

	return values ? values->pdata[values->len - 1] : NULL;
}

const char *invocation_nth(const struct invocation *invocation, const char *option, unsigned index)
{
	GPtrArray *values = g_hash_table_lookup(invocation->values, option);

	return values && index < values->len ? values->pdata[index] : NULL;
}
