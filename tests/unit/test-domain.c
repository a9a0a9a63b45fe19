/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The domain room from the inside: what is kept, what is refused, what completion adds. Whole
 * XML files with their expected messages are in tests/compat.
 */
#include "domain/domain.h"
#include "domain/elements.h"
#include "domain/schema.h"

#include <string.h>

#define HEAD "<domain type='qemu'>\n<name>t</name>\n<memory>65536</memory>\n"
#define OS   "<os><type>hvm</type><kernel>/k</kernel></os>\n"

static struct domain *parse(const char *text, GError **error)
{
	return domain_parse(text, strlen(text), "t.xml", "/base", error);
}

/* Parses and completes what must be right. */
static struct domain *complete(const char *text)
{
	GError *error = NULL;
	struct domain *domain = parse(text, &error);

	g_assert_no_error(error);
	g_assert_true(domain_complete(domain, &error));
	g_assert_no_error(error);
	return domain;
}

static char *with_devices(const char *devices)
{
	return g_strconcat(HEAD OS "<devices>", devices, "</devices></domain>", NULL);
}

static struct domain *complete_devices(const char *devices)
{
	char *text = with_devices(devices);
	struct domain *domain = complete(text);

	g_free(text);
	return domain;
}

static void assert_refused(const char *text, const char *message)
{
	GError *error = NULL;
	struct domain *domain = parse(text, &error);

	if (domain)
		g_assert_false(domain_complete(domain, &error));
	g_assert_nonnull(error);
	if (!strstr(error->message, message))
		g_error("'%s' does not contain '%s'", error->message, message);
	g_clear_error(&error);
	domain_free(domain);
}

static void assert_unknown(const char *root, const char *text, const char *message)
{
	GError *error = NULL;

	g_assert_false(schema_check(text, root, &error));
	g_assert_error(error, DOMAIN_ERROR, DOMAIN_ERROR_SCHEMA);
	if (!strstr(error->message, message))
		g_error("'%s' does not contain '%s'", error->message, message);
	g_clear_error(&error);
}

static void assert_known(const char *root, const char *text)
{
	GError *error = NULL;

	schema_check(text, root, &error);
	g_assert_no_error(error);
}

/* Each row of the domain's table is known at its place, whatever libvirt's schemas have there. */
static void test_schema_has_all_rows(void)
{
	size_t count;
	const struct element *rows = elements_all(&count);

	for (size_t i = 0; i < count; i++) {
		g_autofree char *row = g_strdup(rows[i].path);
		char *star = strchr(row, '*'), *attribute = strchr(row, '@');
		g_auto(GStrv) steps = NULL;
		GString *text = g_string_new(
			"<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'");
		unsigned n;

		if (attribute)
			*attribute++ = '\0';
		g_autofree char *path =
			star ? g_strdup_printf("devices/serial%s", star + 1) : g_strdup(row);

		steps = g_strsplit(path, "/", -1);
		n = *path ? g_strv_length(steps) : 0;
		for (unsigned s = 0; s < n; s++)
			g_string_append_printf(text, "><%s", steps[s]);
		if (attribute)
			g_string_append_printf(text, " %s='1'", attribute);
		g_string_append_c(text, '>');
		for (unsigned s = n; s > 0; s--)
			g_string_append_printf(text, "</%s>", steps[s - 1]);
		g_string_append(text, "</domain>");
		assert_known("domain", text->str);
		g_string_free(text, TRUE);
	}
}

static void test_schema(void)
{
	assert_known("domain", HEAD OS "<metadata><a:b xmlns:a='urn:a' c='d'><e/></a:b></metadata>"
				       "</domain>");
	assert_known("secret", "<secret private='yes'><usage type='volume'><volume>/v</volume>"
			       "</usage></secret>");
	assert_unknown("domain", HEAD OS "<devices>\n<disk><foo/></disk></devices></domain>",
		       "unknown element <foo> in /domain/devices/disk, line 6");
	assert_unknown("domain", HEAD OS "<devices>\n<disk tpye='file'/></devices></domain>",
		       "unknown attribute tpye in /domain/devices/disk, line 6");
	assert_unknown("domain", HEAD OS "<devcies/></domain>",
		       "unknown element <devcies> in /domain, line 5");
	assert_unknown("domain", HEAD OS "<disk/></domain>", "unknown element <disk> in /domain,");
	/* below what is kept as it is, too */
	assert_unknown("domain",
		       HEAD OS "<devices><graphics type='vnc'><listen adress='::'/></graphics>"
			       "</devices></domain>",
		       "unknown attribute adress in /domain/devices/graphics/listen, line 5");
	assert_unknown("domain", HEAD OS "<memory unti='KiB'>1</memory></domain>",
		       "unknown attribute unti in /domain/memory");
	assert_unknown("domain", "<network/>", "its outermost element is not <domain>, line 1");
	assert_unknown("network", "<network><ip adress='1'/></network>",
		       "unknown attribute adress in /network/ip, line 1");
	assert_unknown("network", "<network>\n<x:y xmlns:x='urn:x'/></network>",
		       "unknown element <x:y> in /network, line 2");
	assert_unknown("pool", "<pool type='dir'><target><path/><owner/></target></pool>",
		       "unknown element <owner> in /pool/target");
	assert_unknown("volume", "<volume><capacity units='B'>1</capacity></volume>",
		       "unknown attribute units in /volume/capacity");
	assert_unknown("secret", "<secret><usage type='iscsi'><traget/></usage></secret>",
		       "unknown element <traget> in /secret/usage");
}

static void test_sizes(void)
{
	static const struct {
		const char *number, *unit;
		u64 bytes;
	} good[] = { { "1", NULL, 1024 },        { "1", "b", 1 },
		     { "3", "bytes", 3 },        { "2", "k", 2048 },
		     { "2", "KB", 2000 },        { "1", "MiB", 1 << 20 },
		     { "1", "m", 1 << 20 },      { "1", "MB", 1000000 },
		     { "4", "GiB", 4ull << 30 }, { "1", "TB", 1000000000000ull },
		     { "1", "g", 1 << 30 } };
	u64 bytes;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		g_assert_true(domain_size_bytes(good[i].number, good[i].unit, &bytes));
		g_assert_cmpuint(bytes, ==, good[i].bytes);
	}
	g_assert_false(domain_size_bytes("1", "parsec", &bytes));
	g_assert_false(domain_size_bytes("1", "KiBi", &bytes));
	g_assert_false(domain_size_bytes("-1", NULL, &bytes));
	g_assert_false(domain_size_bytes("", NULL, &bytes));
	g_assert_false(domain_size_bytes("18446744073709551615", "KiB", &bytes));
	g_assert_false(domain_size_bytes("16", "EiB", &bytes));
}

static void test_table(void)
{
	GHashTable *index = elements_index();
	size_t count;
	const struct element *rows = elements_all(&count);

	g_assert_cmpuint(g_hash_table_size(index), ==, count); /* no path twice */
	for (size_t i = 0; i < count; i++)
		if (rows[i].kind == KIND_WORD || rows[i].kind == KIND_NUMBER)
			g_assert_nonnull(rows[i].values);
	g_assert_nonnull(elements_find(index, "devices/rng/alias@name"));
	g_assert_nonnull(elements_find(index, "devices/disk/source@file"));
	g_assert_null(elements_find(index, "devices/rng"
					   "/nothing"));
	g_assert_cmpint(element_word_mark(elements_find(index, "devices/disk/target@bus"), "sata"),
			==, '!');
	g_assert_cmpint(element_word_mark(elements_find(index, "devices/disk/target@bus"), "sat"),
			==, 0);
	g_hash_table_unref(index);
}

static void test_defaults(void)
{
	struct domain *domain = complete(HEAD OS "</domain>");

	g_assert_cmpuint(domain->memory_kib, ==, 65536);
	g_assert_cmpuint(domain->current_kib, ==, 65536);
	g_assert_cmpuint(domain->vcpus, ==, 1);
	g_assert_cmpstr(domain->machine, ==, DOMAIN_MACHINE);
	g_assert_nonnull(strstr(domain->machine, "q35"));
	g_assert_true(g_uuid_string_is_valid(domain->uuid));
	g_assert_cmpint(domain->on_reboot, ==, LIFECYCLE_RESTART);
	g_assert_nonnull(domain->memballoon);
	g_assert_cmpuint(domain->memballoon->address.bus, ==, 1);
	domain_free(domain);
}

static void test_completing_twice_changes_nothing(void)
{
	struct domain *domain = complete_devices(
		"<disk><source file='a.img'/><target dev='vda'/></disk><interface type='user'/>"
		"<console type='pty'/><rng model='virtio'><backend model='random'/></rng>");
	char *once = domain_format(domain), *twice, *again;
	struct domain *reread;

	g_assert_true(domain_complete(domain, NULL));
	twice = domain_format(domain);
	g_assert_cmpstr(once, ==, twice);
	reread = complete(once);
	again = domain_format(reread);
	g_assert_cmpstr(once, ==, again);
	domain_free(reread);
	domain_free(domain);
	g_free(again);
	g_free(twice);
	g_free(once);
}

static void test_unknown_survives(void)
{
	struct domain *domain = complete(
		HEAD OS "<future level='3'><a/><b>x &amp; y</b></future>"
			"<metadata><x:y xmlns:x='urn:x'>  two  blanks <z/></x:y></metadata>"
			"<devices><sound model='ich6'><codec type='duplex'/></sound></devices>"
			"</domain>");
	char *text = domain_format(domain);

	g_assert_nonnull(strstr(text, "<future level='3'>"));
	g_assert_nonnull(strstr(text, "<b>x &amp; y</b>"));
	g_assert_nonnull(strstr(text, ">  two  blanks <z/></x:y>"));
	g_assert_nonnull(strstr(text, "<codec type='duplex'/>"));
	g_assert_cmpuint(domain->notes->len, ==, 1);
	g_assert_nonnull(strstr(domain->notes->pdata[0], "<future>: this element is not known"));
	g_free(text);
	domain_free(domain);
}

static void test_misspelling_is_guessed(void)
{
	struct domain *domain = complete(HEAD OS "<vcpuu>3</vcpuu></domain>");

	g_assert_cmpuint(domain->notes->len, ==, 1);
	g_assert_nonnull(strstr(domain->notes->pdata[0], "did you mean vcpu?"));
	domain_free(domain);
}

static void test_paths_become_absolute(void)
{
	struct domain *domain = complete(
		HEAD "<os><type>hvm</type><kernel>../k</kernel></os><devices>"
		     "<disk><source file='d/a.img'/><target dev='vda'/></disk></devices></domain>");
	struct domain_disk *disk = domain->disks->pdata[0];

	g_assert_cmpstr(domain->kernel, ==, "/k");
	g_assert_cmpstr(disk->path, ==, "/base/d/a.img");
	domain_free(domain);
}

static void test_document_types_are_refused(void)
{
	assert_refused("<!DOCTYPE domain [<!ENTITY a 'b'>]><domain>&a;</domain>", "document type");
	assert_refused("<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>", "document type");
	assert_refused("<domain><name>&undeclared;</name></domain>", "not well-formed");
}

static void test_bounds(void)
{
	GString *text = g_string_new(NULL);
	GError *error = NULL;

	for (unsigned i = 0; i < 5000; i++)
		g_string_append(text, "<a>");
	assert_refused(text->str, "not well-formed");
	g_string_set_size(text, 5 << 20);
	memset(text->str, ' ', text->len);
	g_assert_null(domain_parse(text->str, text->len, "t.xml", NULL, &error));
	g_assert_error(error, DOMAIN_ERROR, DOMAIN_ERROR_XML);
	g_clear_error(&error);
	g_string_free(text, TRUE);
}

static void test_ports_and_addresses(void)
{
	struct domain *domain = complete_devices(
		"<controller type='pci' model='pcie-root-port'/>"
		"<disk><source file='/a'/><target dev='vda'/></disk>"
		"<interface type='user'><address type='pci' bus='3' slot='0'/></interface>");
	struct domain_interface *interface = domain->interfaces->pdata[0];
	struct domain_disk *disk = domain->disks->pdata[0];
	struct domain_controller *port = domain->controllers->pdata[0];

	g_assert_cmpuint(interface->address.bus, ==, 3);
	g_assert_cmpuint(disk->address.bus, ==, 1);
	g_assert_cmpuint(domain->memballoon->address.bus, ==, 2);
	g_assert_cmpuint(port->chassis, ==, 1);
	g_assert_cmpuint(port->port, ==, 8);
	domain_free(domain);
	assert_refused(HEAD OS "<devices><rng model='virtio'><backend model='random'/>"
			       "<address type='pci' bus='1' slot='3'/></rng></devices></domain>",
		       "the slots are 0 only");
}

static void test_too_many_devices(void)
{
	GString *devices = g_string_new(NULL);
	char *text;

	for (unsigned i = 0; i < 260; i++)
		g_string_append(devices, "<interface type='user'/>");
	text = with_devices(devices->str);
	assert_refused(text, "no PCI slot is left");
	g_free(text);
	g_string_free(devices, TRUE);
}

static void test_live_leaves_out_comforts(void)
{
	struct domain *domain = complete_devices(
		"<graphics type='vnc'/><sound model='ich9'/><input type='tablet' bus='usb'/>"
		"<disk><source file='/a'/><target dev='vdb'/><alias name='ua-root'/></disk>"
		"<console type='pty'/>");
	char *left_out = NULL, *stored, *running;
	GError *error = NULL;
	struct domain *live = domain_make_live(domain, &left_out, &error);

	g_assert_no_error(error);
	stored = domain_format(domain);
	running = domain_format(live);
	g_assert_cmpstr(left_out, ==,
			"left out, as this version lacks them: <graphics type='vnc'>, "
			"<sound model='ich9'>, <input type='tablet'>");
	g_assert_nonnull(strstr(stored, "<sound"));
	g_assert_null(strstr(running, "<sound"));
	g_assert_nonnull(strstr(running, "<alias name='ua-root'/>"));
	g_assert_nonnull(strstr(running, "<alias name='serial0'/>"));
	g_assert_cmpstr(live->memballoon->alias, ==, "balloon0");
	g_free(running);
	g_free(stored);
	g_free(left_out);
	domain_free(live);
	domain_free(domain);
}

/* Text in place of the tree is the same domain. */
static void test_folded(void)
{
	const char *disk =
		"<disk type='file'><source file='/d'/><target dev='vda' bus='virtio'/></disk>"
		"<graphics type='vnc' passwd='x'/>";
	struct domain *whole = complete_devices(disk), *folded;
	char *one, *other;

	/* not a second completion, which makes up another uuid */
	one = domain_format(whole);
	folded = parse(one, NULL);
	domain_fold(folded);
	domain_fold(folded);
	g_assert_null(folded->doc);
	other = domain_format(folded);
	g_assert_cmpstr(one, ==, other);
	g_free(one);
	g_free(other);
	one = domain_format_public(whole);
	other = domain_format_public(folded);
	g_assert_null(strstr(other, "passwd"));
	g_assert_cmpstr(one, ==, other);
	g_free(one);
	g_free(other);
	domain_free(whole);
	whole = domain_make_live(folded, &one, NULL);
	g_assert_nonnull(whole->doc);
	g_assert_cmpuint(whole->disks->len, ==, 1);
	g_free(one);
	domain_free(whole);
	domain_free(folded);
}

static void test_live_refuses_what_is_needed(void)
{
	struct domain *domain =
		complete_devices("\n<disk device='cdrom'><target dev='sda' bus='sata'/></disk>");
	char *left_out = NULL;
	GError *error = NULL;

	g_assert_null(domain_make_live(domain, &left_out, &error));
	g_assert_error(error, DOMAIN_ERROR, DOMAIN_ERROR_UNSUPPORTED);
	g_assert_cmpstr(error->message, ==,
			"t.xml:6: <disk>: device='cdrom' is not in this version; use device='disk' "
			"(virt-install: --install kernel=FILE,initrd=FILE instead of --cdrom)");
	g_clear_error(&error);
	domain_free(domain);
}

static void test_forwards(void)
{
	struct domain *domain = complete_devices(
		"<interface type='user'><portForward proto='tcp' address='127.0.0.1'>"
		"<range start='2222' to='22'/><range start='8000' end='8003'/>"
		"<range start='8002' exclude='yes'/></portForward></interface>");
	struct domain_interface *interface = domain->interfaces->pdata[0];
	struct domain_forward *first = interface->forwards->pdata[0];

	g_assert_cmpuint(interface->forwards->len, ==, 2);
	g_assert_cmpuint(first->first, ==, 2222);
	g_assert_cmpuint(first->last, ==, 2222);
	g_assert_cmpuint(first->to, ==, 22);
	g_assert_cmpstr(first->address, ==, "127.0.0.1");
	g_assert_true(g_str_has_prefix(interface->mac, "52:54:00:"));
	domain_free(domain);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/domain/sizes", test_sizes);
	g_test_add_func("/domain/schema", test_schema);
	g_test_add_func("/domain/schema has all rows", test_schema_has_all_rows);
	g_test_add_func("/domain/table", test_table);
	g_test_add_func("/domain/defaults", test_defaults);
	g_test_add_func("/domain/complete-twice", test_completing_twice_changes_nothing);
	g_test_add_func("/domain/unknown-survives", test_unknown_survives);
	g_test_add_func("/domain/misspelling", test_misspelling_is_guessed);
	g_test_add_func("/domain/paths", test_paths_become_absolute);
	g_test_add_func("/domain/document-types", test_document_types_are_refused);
	g_test_add_func("/domain/bounds", test_bounds);
	g_test_add_func("/domain/pci", test_ports_and_addresses);
	g_test_add_func("/domain/too-many-devices", test_too_many_devices);
	g_test_add_func("/domain/live-comforts", test_live_leaves_out_comforts);
	g_test_add_func("/domain/folded", test_folded);
	g_test_add_func("/domain/live-refuses", test_live_refuses_what_is_needed);
	g_test_add_func("/domain/forwards", test_forwards);
	return g_test_run();
}
