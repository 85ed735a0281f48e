# What PROGRAM means on the command line. Sourced by the build and run scripts, which have set `top` and `me`.

DEFAULT_PROGRAM=wordcount

# Ends with a sentence that says what is wrong and what to do.
refuse() {
  echo "$me: $*" >&2
  exit 2
}

# The programs under apps/, as one line.
app_names() {
  local app names=
  for app in "$top"/apps/*; do
    if [ -d "$app" ] || [ "${app%.cpp}" != "$app" ]; then names+=" $(basename "${app%.cpp}")"; fi
  done
  echo "${names# }"
}

# find_program PROGRAM: sets `source`, the file or folder, and `prefix`, the path of what is built, without its ending.
find_program() {
  local name
  case $1 in
  '') refuse "PROGRAM is empty. Name one of: $(app_names), or a .cpp file or folder." ;;
  */* | *.cpp | .*) source=$1 ;;
  *)
    source=$top/apps/$1
    [ -e "$source" ] || source+=.cpp
    if [ ! -e "$source" ] && [ -d "$1" ]; then source=$1; fi
    [ -e "$source" ] || refuse "there is no program '$1' under apps/. Name one of: $(app_names), or the path of a .cpp file or folder."
    ;;
  esac
  [ -e "$source" ] || refuse "there is no file or folder '$1'. Check the path of the program."
  [ -r "$source" ] || refuse "'$1' cannot be read. Change its permissions, or run as its owner."
  source=$(realpath "$source")
  if [ -d "$source" ]; then
    [ -n "$(find "$source" -name '*.cpp' -type f -print -quit)" ] ||
      refuse "there is no .cpp file in the folder '$1'. A program needs one with a main in it."
  elif [ ! -f "$source" ] || [ "${source%.cpp}" = "$source" ]; then
    refuse "'$1' is not a .cpp file. A program is a .cpp file, or a folder of them."
  fi
  name=$(basename "${source%.cpp}")
  case $source in
  "$top"/apps/*) prefix=$top/build/apps/$name ;;
  *) prefix=$top/build/programs/$name-$(printf %s "$source" | cksum | cut -d ' ' -f 1) ;;
  esac
}

# Builds the core and the program that find_program found.
build_program() {
  mkdir -p "$top/build"
  flock "$top/build/lock" make --no-print-directory -s -C "$top" core >&2 ||
    refuse "the core does not assemble; the lines above say why."
  "$top/tools/program.sh" "$source" "$prefix" >&2 ||
    refuse "$source does not build; the lines above say why."
}
