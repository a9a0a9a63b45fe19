/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What clients are told that can be had here: they write domains accordingly. What is not named,
 * they guess, and guess badly (without <graphics> some assume SPICE): so everything is named, also
 * by a "no". kvm comes first: clients take it where they can, and lodge runs both with its best
 * engine.
 */
#include "daemon/cpu.h"
#include "domain/domain.h"
#include "launch/launch.h"
#include "rpc_constants.h"

#include <string.h>
#include <unistd.h>

#define ARCH          "x86_64"
#define MACHINE_ALIAS "q35"

static const char *const domain_types[] = { "kvm", "qemu", NULL };
static const char *const machines[] = { MACHINE_ALIAS, DOMAIN_MACHINE, NULL };

/* Tools show it to people, and some look whether it is there. */
static char *emulator_path(void)
{
	char *self = g_file_read_link("/proc/self/exe", NULL), *directory, *path;

	directory = self ? g_path_get_dirname(self) : g_strdup("/usr/libexec/lodge");
	path = g_build_filename(directory, "lodge-vmm", NULL);
	g_free(directory);
	g_free(self);
	return path;
}

char *capabilities_xml(struct daemon *daemon)
{
	g_autofree char *emulator = emulator_path(), *text = NULL;
	g_autofree char *cpu = cpu_elements(cpu_of_host(daemon), "      ", false);
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	text = g_markup_printf_escaped(
		"      <topology sockets='1' dies='1' cores='%ld' threads='1'/>\n"
		"    </cpu>\n"
		"  </host>\n"
		"  <guest>\n"
		"    <os_type>hvm</os_type>\n"
		"    <arch name='" ARCH "'>\n"
		"      <wordsize>64</wordsize>\n"
		"      <emulator>%s</emulator>\n"
		"      <machine canonical='" DOMAIN_MACHINE "' maxCpus='%d'>" MACHINE_ALIAS
		"</machine>\n"
		"      <machine maxCpus='%d'>" DOMAIN_MACHINE "</machine>\n"
		"      <domain type='kvm'/>\n"
		"      <domain type='qemu'/>\n"
		"    </arch>\n"
		"    <features>\n"
		"      <acpi default='on' toggle='yes'/>\n"
		"      <apic default='on' toggle='no'/>\n"
		"    </features>\n"
		"  </guest>\n"
		"</capabilities>\n",
		cpus, emulator, DOMAIN_VCPUS_MAX, DOMAIN_VCPUS_MAX);
	return g_strconcat("<capabilities>\n"
			   "  <host>\n"
			   "    <cpu>\n"
			   "      <arch>" ARCH "</arch>\n",
			   cpu, text, NULL);
}

static bool check(const char *what, const char *value, const char *const *allowed, GError **error)
{
	g_autofree char *list = NULL;

	if (g_strv_contains(allowed, value))
		return true;
	list = g_strjoinv(" and ", (char **)allowed);
	g_set_error(error, DAEMON_ERROR, VIR_ERR_INVALID_ARG,
		    "there is no %s '%s' here; there are %s", what, value, list);
	return false;
}

static const char capabilities_end[] = "    </mode>\n"
				       "  </cpu>\n"
				       "  <memoryBacking supported='yes'>\n"
				       "    <enum name='sourceType'>\n"
				       "      <value>anonymous</value>\n"
				       "      <value>memfd</value>\n"
				       "    </enum>\n"
				       "  </memoryBacking>\n"
				       "  <devices>\n"
				       "    <disk supported='yes'>\n"
				       "      <enum name='diskDevice'>\n"
				       "        <value>disk</value>\n"
				       "      </enum>\n"
				       "      <enum name='bus'>\n"
				       "        <value>virtio</value>\n"
				       "      </enum>\n"
				       "      <enum name='model'>\n"
				       "        <value>virtio</value>\n"
				       "      </enum>\n"
				       "    </disk>\n"
				       "    <graphics supported='yes'>\n"
				       "      <enum name='type'/>\n"
				       "    </graphics>\n"
				       "    <video supported='yes'>\n"
				       "      <enum name='modelType'>\n"
				       "        <value>none</value>\n"
				       "      </enum>\n"
				       "    </video>\n"
				       "    <hostdev supported='no'/>\n"
				       "    <rng supported='yes'>\n"
				       "      <enum name='model'>\n"
				       "        <value>virtio</value>\n"
				       "      </enum>\n"
				       "      <enum name='backendModel'>\n"
				       "        <value>random</value>\n"
				       "      </enum>\n"
				       "    </rng>\n"
				       "    <filesystem supported='no'/>\n"
				       "    <tpm supported='no'/>\n"
				       "    <redirdev supported='no'/>\n"
				       "    <channel supported='yes'>\n"
				       "      <enum name='type'>\n"
				       "        <value>unix</value>\n"
				       "        <value>pty</value>\n"
				       "      </enum>\n"
				       "    </channel>\n"
				       "  </devices>\n"
				       "  <features>\n"
				       "    <gic supported='no'/>\n"
				       "    <sev supported='no'/>\n"
				       "  </features>\n"
				       "</domainCapabilities>\n";

char *domain_capabilities_xml(struct daemon *daemon, const char *arch, const char *machine,
			      const char *domain_type, const char *emulator, GError **error)
{
	static const char *const archs[] = { ARCH, NULL };
	g_autofree char *own = emulator_path(), *head = NULL, *host = NULL, *models = NULL;

	arch = arch ? arch : ARCH;
	machine = machine ? machine : MACHINE_ALIAS;
	domain_type = domain_type ? domain_type : domain_types[0];
	if (!check("architecture", arch, archs, error) ||
	    !check("machine", machine, machines, error) ||
	    !check("domain type", domain_type, domain_types, error))
		return NULL;
	head = g_markup_printf_escaped("<domainCapabilities>\n"
				       "  <path>%s</path>\n"
				       "  <domain>%s</domain>\n"
				       "  <machine>%s</machine>\n"
				       "  <arch>%s</arch>\n"
				       "  <vcpu max='%d'/>\n"
				       "  <iothreads supported='no'/>\n"
				       "  <os supported='yes'>\n"
				       "    <enum name='firmware'/>\n"
				       "    <loader supported='no'/>\n"
				       "  </os>\n"
				       "  <cpu>\n"
				       "    <mode name='host-passthrough' supported='yes'>\n"
				       "      <enum name='hostPassthroughMigratable'>\n"
				       "        <value>off</value>\n"
				       "      </enum>\n"
				       "    </mode>\n"
				       "    <mode name='maximum' supported='yes'/>\n"
				       "    <mode name='host-model' supported='yes'>\n",
				       emulator ? emulator : own, domain_type, machine, arch,
				       DOMAIN_VCPUS_MAX);
	host = cpu_elements(cpu_of_host(daemon), "      ", true);
	models = cpu_models(cpu_of_host(daemon), "      ");
	return g_strconcat(head, host, "    </mode>\n    <mode name='custom' supported='yes'>\n",
			   models, capabilities_end, NULL);
}
