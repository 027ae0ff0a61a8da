# cmake -DOUTPUT=snippet.c -DINPUT=snippet.py -P embed_snippet.cmake
# What stands between the lines "# <plan>" and "# </plan>" is a sample of what is written there for each plan.
file(READ ${INPUT} text)
string(REPLACE "\\" "\\\\" text "${text}")
string(REPLACE "\"" "\\\"" text "${text}")
string(FIND "${text}" "# <plan>\n" begin)
string(FIND "${text}" "# </plan>\n" end)
if(begin LESS 0 OR end LESS begin)
  message(FATAL_ERROR "${INPUT}: expected the lines # <plan> and # </plan>")
endif()
string(SUBSTRING "${text}" 0 ${begin} before)
math(EXPR end "${end} + 10") # the line and its end
string(SUBSTRING "${text}" ${end} -1 after)
string(REPLACE "\n" "\\n\"\n    \"" before "${before}")
string(REPLACE "\n" "\\n\"\n    \"" after "${after}")
file(WRITE ${OUTPUT}.new
     "// Generated from the .py file: the part before and the part after what the plan says.\n"
     "#include \"transformers.h\"\n\n"
     "const char kvat__transformers_before[] =\n    \"${before}\";\n"
     "const char kvat__transformers_after[] =\n    \"${after}\";\n")
file(RENAME ${OUTPUT}.new ${OUTPUT})
