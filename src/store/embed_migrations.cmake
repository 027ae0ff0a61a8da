# cmake -DOUTPUT=migrations.c -DINPUTS=001_a.sql,002_b.sql -P embed_migrations.cmake
# Numbers must run 001, 002, … without a gap: the number is the schema version that the file leads to.
string(REPLACE "," ";" inputs "${INPUTS}")
list(SORT inputs)
set(rows "")
set(expected 0)
foreach(input IN LISTS inputs)
  math(EXPR expected "${expected} + 1")
  get_filename_component(name ${input} NAME_WE)
  if(NOT name MATCHES "^0*([0-9]+)_" OR NOT CMAKE_MATCH_1 EQUAL expected)
    message(FATAL_ERROR "${input}: expected migration number ${expected}")
  endif()
  file(READ ${input} sql)
  string(REPLACE "\\" "\\\\" sql "${sql}")
  string(REPLACE "\"" "\\\"" sql "${sql}")
  string(REPLACE "\n" "\\n\"\n     \"" sql "${sql}")
  string(APPEND rows "    {\"${name}\",\n     \"${sql}\"},\n")
endforeach()
file(WRITE ${OUTPUT}.new
     "// Generated from the .sql files: the schema's history.\n#include \"store_internal.h\"\n\n"
     "const kvat__migration kvat__migrations[] = {\n${rows}};\n"
     "const int kvat__n_migrations = ${expected};\n")
file(RENAME ${OUTPUT}.new ${OUTPUT})
