# optimized_config.py becomes C text at build time, so that it can be read, linted and run as the Python it is.
set(snippet_py ${PROJECT_SOURCE_DIR}/src/plan/transformers_snippet.py)
set(snippet_c ${PROJECT_BINARY_DIR}/generated/plan/transformers_snippet.c)
add_custom_command(
  OUTPUT ${snippet_c}
  COMMAND ${CMAKE_COMMAND} -DOUTPUT=${snippet_c} -DINPUT=${snippet_py} -P ${PROJECT_SOURCE_DIR}/src/plan/embed_snippet.cmake
  DEPENDS ${snippet_py} ${PROJECT_SOURCE_DIR}/src/plan/embed_snippet.cmake
  COMMENT "Embedding optimized_config.py" VERBATIM)
target_sources(kvat_plan PRIVATE ${snippet_c})
