set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")

# One line per file: <target>|<kind>|<absolute source>|<path in the destination>
set(RECORD "${CMAKE_BINARY_DIR}/record.txt")
file(WRITE "${RECORD}" "")

macro(ctkMacroCompilePythonScript)
  cmake_parse_arguments(CTK "NO_INSTALL_SUBDIR;GLOBAL_TARGET" "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR"
    "SCRIPTS;RESOURCES" ${ARGN})
  foreach(variable TARGET_NAME SCRIPTS DESTINATION_DIR INSTALL_DIR)
    if(NOT DEFINED CTK_${variable})
      message(FATAL_ERROR "${variable} is mandatory")
    endif()
  endforeach()
  if(NOT DEFINED CTK_SOURCE_DIR)
    set(CTK_SOURCE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  endif()
  set(copied)
  foreach(kind SCRIPTS RESOURCES)
    foreach(file ${CTK_${kind}})
      get_filename_component(ending "${file}" EXT)
      # As CTK does: a script without an ending is a .py file.
      if(kind STREQUAL "SCRIPTS" AND NOT "${ending}" MATCHES "py")
        set(file "${file}.py")
      endif()
      if(NOT EXISTS "${CTK_SOURCE_DIR}/${file}")
        message(FATAL_ERROR "${CTK_TARGET_NAME} lists ${file}, which does not exist")
      endif()
      file(APPEND "${RECORD}" "${CTK_TARGET_NAME}|${kind}|${CTK_SOURCE_DIR}/${file}|${file}\n")
      add_custom_command(OUTPUT "${CTK_DESTINATION_DIR}/${file}"
        COMMAND ${CMAKE_COMMAND} -E copy "${CTK_SOURCE_DIR}/${file}" "${CTK_DESTINATION_DIR}/${file}"
        DEPENDS "${CTK_SOURCE_DIR}/${file}")
      list(APPEND copied "${CTK_DESTINATION_DIR}/${file}")
    endforeach()
  endforeach()
  add_custom_target(Copy${CTK_TARGET_NAME} ALL DEPENDS ${copied})
  install(DIRECTORY "${CTK_DESTINATION_DIR}/" DESTINATION "${CTK_INSTALL_DIR}" COMPONENT RuntimeLibraries)
endmacro()

macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "Unknown keywords given to slicerMacroBuildScriptedModule(): ${MODULE_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT DEFINED MODULE_NAME)
    message(FATAL_ERROR "NAME is mandatory")
  endif()
  file(APPEND "${RECORD}" "${MODULE_NAME}|MODULE|${CMAKE_CURRENT_SOURCE_DIR}|WITH_GENERIC_TESTS=${MODULE_WITH_GENERIC_TESTS}\n")
  ctkMacroCompilePythonScript(
    TARGET_NAME ${MODULE_NAME}
    SCRIPTS "${MODULE_SCRIPTS}"
    RESOURCES "${MODULE_RESOURCES}"
    DESTINATION_DIR "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}"
    INSTALL_DIR "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}"
    NO_INSTALL_SUBDIR)
endmacro()

macro(slicer_add_python_unittest)
endmacro()
