/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From words to an invocation, by the command's table of options.
 *
 * virsh has each argument as an option, too: "--domain web1" is what "web1" is. The names are those
 * of the words in the command's `arguments`; an option of that name comes first.
 */
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

/* Is @option one of virsh's names of the argument that the help calls @word? */
static bool names_argument(const char *word, const char *option, size_t length)
{
	static const struct {
		const char *word, *options;
	} names[] = {
		{ "GUEST", "--domain" },  { "NETWORK", "--network" },
		{ "POOL", "--pool" },     { "VOLUME", "--vol" },
		{ "FILE", "--file" },     { "NAME", "--name|--newname|--new-name" },
		{ "TYPE", "--type" },     { "SIZE", "--size|--capacity" },
		{ "COUNT", "--count" },   { "DISK", "--device" },
		{ "DEVICE", "--device" }, { "INTERFACE", "--interface" },
		{ "VCPU", "--vcpu" },     { "CPUS", "--cpulist" },
		{ "MAC", "--mac" },       { "KEY", "--keycode" },
		{ "ACTION", "--action" }, { "UUID", "--secret" },
		{ "URI", "--uri" },       { "TEXT", "--new-desc" },
		{ "JSON", "--cmd" },      { "ARCHITECTURE", "--arch" },
		{ "DRIVE", "--path" },    { "MEDIUM", "--source" },
		{ "STATE", "--state" },
	};
	g_autofree char *name = g_strndup(option, length);

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (!strcmp(names[i].word, word) && is_listed_word(names[i].options, name))
			return true;
	return false;
}

/* The place of the argument that @option names, or -1. */
static int argument_place(const struct command *command, const char *option, size_t length)
{
	g_auto(GStrv) words = g_strsplit(command->arguments, " ", -1);

	for (int i = 0; words[i] && i < (int)command->arguments_max; i++) {
		char *word = words[i] + strspn(words[i], "[");

		word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] = 0;
		if (names_argument(word, option, length))
			return i;
	}
	return -1;
}

/* @places: the arguments that were named, by their places. */
static bool store_argument(struct invocation *invocation, GPtrArray *places, int place,
			   const char *name, const char *value, GError **error)
{
	if (places->len <= (unsigned)place)
		g_ptr_array_set_size(places, place + 1);
	if (places->pdata[place])
		return fail(error, invocation->command, "%s is given twice", name);
	places->pdata[place] = (gpointer)value;
	return true;
}

/* Takes the option at argv[*at], and the word after it when that is its value. */
static bool take_option(struct invocation *invocation, GPtrArray *places, int argc, char **argv,
			int *at, GError **error)
{
	const char *word = argv[*at], *equals = strchr(word, '=');
	size_t length = equals ? (size_t)(equals - word) : strlen(word);
	const struct command_option *option =
		command_option_find(invocation->command, word, length);
	int place = option ? -1 : argument_place(invocation->command, word, length);

	if (place >= 0 && equals)
		return store_argument(invocation, places, place, word, equals + 1, error);
	if (place >= 0 && *at + 1 < argc)
		return store_argument(invocation, places, place, word, argv[++*at], error);
	if (place >= 0)
		return fail(error, invocation->command, "%s needs a value", word);
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

/* Those without a name take the places that are left, in order. */
static bool fill_places(struct invocation *invocation, GPtrArray *places, GError **error)
{
	const struct command *command = invocation->command;
	GPtrArray *plain = invocation->arguments;
	unsigned next = 0;

	if (!places->len)
		return true;
	invocation->arguments = g_ptr_array_new();
	for (unsigned i = 0; i < places->len || next < plain->len; i++) {
		gpointer word = i < places->len ? places->pdata[i] : NULL;

		if (!word && next < plain->len)
			word = plain->pdata[next++];
		if (!word)
			break;
		g_ptr_array_add(invocation->arguments, word);
	}
	g_ptr_array_unref(plain);
	if (invocation->arguments->len > command->arguments_max)
		return fail(error, command, "one argument too many: '%s'",
			    (const char *)invocation->arguments->pdata[command->arguments_max]);
	if (invocation->arguments->len < places->len)
		return fail(error, command, "an argument is missing: lodge %s %s", command->name,
			    command->arguments);
	return true;
}

struct invocation *invocation_parse(const struct command *command, int argc, char **argv,
				    GError **error)
{
	struct invocation *invocation = g_new0(struct invocation, 1);
	g_autoptr(GPtrArray) places = g_ptr_array_new();
	bool options = true, good = true;

	invocation->command = command;
	invocation->arguments = g_ptr_array_new();
	invocation->values = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
						   (GDestroyNotify)g_ptr_array_unref);
	for (int i = 0; i < argc && good; i++) {
		if (options && !strcmp(argv[i], "--"))
			options = false;
		else if (options && argv[i][0] == '-' && argv[i][1])
			good = take_option(invocation, places, argc, argv, &i, error);
		else if (invocation->arguments->len == command->arguments_max)
			good = fail(error, command, "one argument too many: '%s'", argv[i]);
		else
			g_ptr_array_add(invocation->arguments, argv[i]);
	}
	good = good && fill_places(invocation, places, error);
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
