# Reads a NASM listing. Put before an awk program that calls listing_line() for each line.
#
# Columns: 1-6 line, 8-15 offset in the section, 17-35 bytes, 36-39 depth as <N>, 41- source. The depth grows with
# includes and macros alike: what a macro makes goes to the line that used it.

function hex(digits,  value, i) {
  digits = toupper(digits)
  for (i = 1; i <= length(digits); i++) value = value * 16 + index("0123456789ABCDEF", substr(digits, i, 1)) - 1
  return value
}

# Takes the current line apart. Sets file, line, section and offset, and returns how many bytes it stands for.
function listing_line(  depth, data, times, source, wrapped, words) {
  depth = substr($0, 36, 4)
  gsub(/[ <>]/, "", depth)
  depth += 0
  data = substr($0, 17, 19)
  wrapped = listing_wraps
  listing_wraps = data ~ /-/
  if (!wrapped) {
    if (depth == 0 && !(0 in listing_file)) listing_file[0] = main
    file = listing_file[depth]
    line = listing_fixed[depth] ? listing_fixed[depth] : substr($0, 1, 6) + 0
    source = substr($0, 41)
    if (source ~ /^[ \t]*%include[ \t]/) {
      split(source, words, /["\047]/)
      listing_file[depth + 1] = words[2]
      listing_fixed[depth + 1] = 0
    } else {
      listing_file[depth + 1] = file
      listing_fixed[depth + 1] = line
    }
    if (source ~ /^[ \t]*section[ \t]/) {
      split(source, words, /[ \t]+/)
      section = words[1] == "" ? words[3] : words[2]
    }
  }
  if (substr($0, 8, 8) !~ /^[0-9A-F]+$/ || data ~ /[?]|<res/) return 0
  offset = hex(substr($0, 8, 8))
  times = 1
  if (match(data, /<rep [0-9A-Fa-f]+h>/)) {
    times = hex(substr(data, RSTART + 5, RLENGTH - 7))
    data = substr(data, 1, RSTART - 1)
  }
  # Addresses that are not known yet stand in brackets.
  gsub(/[^0-9A-F]/, "", data)
  return times * length(data) / 2
}
