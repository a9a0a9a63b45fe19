# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of lodged for fish.
complete -c lodged -f
for directory in root pki cgroup
	complete -c lodged -l $directory -x -a '(__fish_complete_directories)'
end
for file in log vmm config
	complete -c lodged -l $file -r -F
end
for value in listen-tls listen-tcp tls-allow patience socket-mode socket-ro-mode
	complete -c lodged -l $value -x
end
for word in system session movable verbose version help
	complete -c lodged -l $word
end
complete -c lodged -l engine -x -a 'auto kvm soft'
complete -c lodged -l kvm-absent -x -a 'soft refuse'
complete -c lodged -l group -x -a '(__fish_complete_groups)'
complete -c lodged -l trust -x -a '(__fish_complete_users)'
