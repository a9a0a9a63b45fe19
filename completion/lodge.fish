# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of lodge for fish: the program itself knows what fits.
function __lodge_complete
	set -l words (commandline -opc)
	set -l begun (commandline -ct)
	for line in ($words[1] --complete $words[2..-1] "$begun" 2>/dev/null)
		if test "$line" = '<file>'
			__fish_complete_path "$begun"
		else
			echo $line
		end
	end
end
complete -c lodge -f -a '(__lodge_complete)'
